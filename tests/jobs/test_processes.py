import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

import purepg
from purepg import hyperparams, processes
from purepg.errors import InvalidInput
from purepg.runs import saved_state

JOB = """
import sys
import numpy as np
import purepg
from purepg import processes

def job():
    task = purepg.Task("CartPole-v1", purepg.Softmax(purepg.MLP((8,))), purepg.Segments(4, 4, 12))
    method = purepg.PolicyGradient(task, purepg.estimators.make("gae"))
    hyper = purepg.Hyperparams(learning_rate=np.array([0.01, 0.02, 0.03]))
    return dict(method=method, hyper=hyper, seeds=[4, 0, 7], num_updates=4, evaluation_games=4)

if __name__ == "__main__":
    address, me, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    purepg.seeds.use_all_cores(1)
    processes.start(address, 2, me)
    result = processes.run(**job(), directory=out)
    print("mean", float(result.dataset["evaluation_return"].mean()))
    for wrong in (dict(directory=out), dict(seeds=1, hyper=None), dict(num_updates=0)):
        try:
            processes.run(**(job() | wrong))
        except purepg.errors.InvalidInput as error:
            print("refused", error)
"""


BY_STEPS = JOB.replace("Segments(4, 4, 12)", "Games(4, 50)").replace("num_updates=4", "num_steps=300")


@pytest.mark.slow
@pytest.mark.parametrize("job", [JOB, BY_STEPS], ids=["updates", "budget of steps"])
def test_two_processes_give_the_result_of_one_to_the_bit(job, tmp_path):
    script, out = tmp_path / "job.py", tmp_path / "run"
    script.write_text(job)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, str(script), address]
    started = [
        subprocess.Popen(
            [*command, me, str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for me in "01"
    ]
    printed = [process.communicate(timeout=180)[0] for process in started]
    lines = [[x for x in text.splitlines() if x.startswith(("mean", "refused"))] for text in printed]
    assert len(lines[0]) == 4, printed
    assert lines[0] == lines[1]  # the same result, and the same refusals, in both
    assert "exists already" in lines[0][1]
    assert "1 seeds for 2" in lines[0][2]
    assert "num_updates = 0" in lines[0][3]

    names: dict = {"__name__": "job"}
    exec(job, names)
    alone, together = purepg.run(**names["job"]()), purepg.load(out)
    for name in alone.dataset:
        np.testing.assert_array_equal(together.dataset[name], alone.dataset[name])
    jax.tree.map(np.testing.assert_array_equal, *(saved_state.as_numbers(r.state) for r in (together, alone)))


def test_numbers_of_some_of_the_replicates():
    hyper = purepg.Hyperparams(learning_rate=np.array([1.0, 2.0, 3.0]), discount=0.9)  # pyright: ignore
    spec = purepg.environment("CartPole-v1")
    some = hyperparams.some(hyper, spec, slice(1, 3))
    assert list(some.learning_rate) == [2.0, 3.0]
    assert some.discount == 0.9
    assert some.env == purepg.environments.parameters(spec, None)


def test_parts_with_and_without_counts_are_completed():
    from purepg.rollout.metrics import Average
    from purepg.runs import results

    ones, some = np.ones((1, 2), np.float32), np.array([[0.0, 3.0]], np.float32)
    parts = [
        results.to_dataset({"x": Average(ones, count)}, np.array([i]), {})
        for i, count in enumerate([ones, some])
    ]
    first, second = processes.with_all_counts(parts)
    assert list(first["x_count"].values[0]) == [1, 1]
    assert list(second["x_count"].values[0]) == [0, 3]


@pytest.mark.parametrize("numbers", [("here", 2, 0), ("127.0.0.1:1", 2, 2), ("127.0.0.1:1", 0, 0)])
def test_numbers_that_do_not_fit_are_refused(numbers):
    with pytest.raises(InvalidInput, match="give HOST:PORT"):
        processes.start(*numbers)
