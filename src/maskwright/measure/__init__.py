"""How fast the models are on this machine, and how near their masks are to those of other implementations.

:func:`maskwright.measure.run.measure` does what a :class:`maskwright.measure.plan.Plan` asks for and gives a
:class:`maskwright.measure.results.Report`, which becomes JSON, tables and a chart. No figure is an estimate.
"""
