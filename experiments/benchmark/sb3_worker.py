"""Stable-Baselines3: A2C on the CPU, games of gymnasium stepped one after another by Python.

It has no seed axis: one seed is measured, and others would come one after another at the same rate. When a single
seed is solved is luck, so that is not measured.
"""

import math

from measuring import Learner, Work, answer

DIFFERS = (
    "one seed on one thread; NumPy's CartPole, stepped by Python; one Adam for both networks, orthogonal "
    "initialisation; values go on behind a time limit; nothing is compiled"
)


def build(work: Work) -> Learner:
    import torch  # pyright: ignore[reportMissingImports]
    from stable_baselines3 import A2C  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.env_util import make_vec_env  # pyright: ignore[reportMissingImports]

    if work.seeds != 1:
        raise ValueError(f"{work.seeds} seeds: this learner trains one")
    torch.set_num_threads(
        1
    )  # the matrices are small: more threads wait for each other, on busy cores 10 times as long
    agent = A2C(
        "MlpPolicy",
        make_vec_env(work.env, n_envs=work.games, seed=work.seed),
        learning_rate=work.learning_rate,
        n_steps=work.steps,
        gamma=work.discount,
        gae_lambda=work.trace_decay,
        ent_coef=work.entropy_coefficient,
        max_grad_norm=math.inf,
        use_rms_prop=False,  # Adam
        policy_kwargs={
            "net_arch": {"pi": list(work.hidden), "vf": list(work.hidden)},
            "activation_fn": torch.nn.Tanh,
        },
        seed=work.seed,
        device="cpu",
    )

    def train():
        agent.learn(work.turn * work.games * work.steps, reset_num_timesteps=False)

    return Learner(train, compile_seconds=0.0)


if __name__ == "__main__":
    answer(build, ("stable-baselines3", "torch", "gymnasium"), DIFFERS)
