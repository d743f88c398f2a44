"""Many seeds from start to end, in memory or in a folder from which they can be resumed.

runner         the host's loop: `purepg.run`, `purepg.resume`
results        what a run gives: `purepg.Result`, `purepg.load`
run_options    how a run is carried out; run_length: how many updates that is
run_folder     what lies in a folder: configuration, records, saved_state, checkpoint; old_runs: of earlier formats
loggers        metrics to TensorBoard and the like while a run goes on
"""
