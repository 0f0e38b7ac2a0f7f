"""Reading pictures and writing results: everything here touches files, nothing here touches a model."""
