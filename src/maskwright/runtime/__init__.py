"""How the verbs of the model are executed: on which device, in which precision, in which batches."""
