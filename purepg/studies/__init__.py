"""Several configurations on the same seeds: which is better, and how sure that is.

study        `purepg.compare`, `purepg.study`
sweep        `purepg.sweep`: one configuration with many values of its numbers; swept names them in a dataset
study_runs   the folder of a study: one run for each configuration
"""
