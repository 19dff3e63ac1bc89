from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from tests.e2e.conftest import CONFIG, Repository, writes


def prepare(repository: Repository, tasks: int) -> None:
    """Independent tasks, a chain of dependents, and some that write the same file."""
    repository.write("fleet.toml", CONFIG.format(agents=4, commands='["python3 check.py"]'))
    listed: list[dict[str, object]] = []
    for n in range(tasks):
        prompt = f"@sleep 0.2\n{writes(f't{n}.txt', f'task {n}')}"
        needs = [f"t{n - 1}"] if n % 5 == 4 else []
        listed.append({"id": f"t{n}", "prompt": prompt, "depends_on": needs})
    repository.tasks(*listed)
    repository.commit("tasks")


def final_tree(repository: Repository) -> str:
    return repository.git("rev-parse", "main^{tree}")


def disturbed(repository: Repository, *, kills: int, seed: int, calm: float) -> None:
    """Run, kill -9 the coordinator after a while, again and again; then let it finish."""
    rng, pause = random.Random(seed), threading.Event()
    for _ in range(kills):
        run = repository.start("run")
        pause.wait(rng.uniform(0.2, calm))
        run.kill()
        run.wait()
        assert run.stdout is not None
        run.stdout.close()
    done = repository.fleet("run", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def compare(tmp_path: Path, repository: Repository, *, tasks: int, kills: int, calm: float) -> None:
    prepare(repository, tasks)
    copy = Repository(
        path=tmp_path / "copy",
        env={**repository.env, "XDG_CACHE_HOME": str(tmp_path / "copy-cache")},
    )
    repository.git("clone", "-q", str(repository.path), str(copy.path))
    undisturbed = copy.fleet("run", timeout=300)
    assert undisturbed.returncode == 0, undisturbed.stdout + undisturbed.stderr
    disturbed(repository, kills=kills, seed=11, calm=calm)
    assert final_tree(repository) == final_tree(copy)
    assert repository.audit() == ""
    assert set(repository.states().values()) == {"merged"}


def test_a_run_killed_five_times_ends_in_the_same_tree(
    repository: Repository, tmp_path: Path
) -> None:
    compare(tmp_path, repository, tasks=10, kills=5, calm=1.4)


@pytest.mark.long
def test_a_run_of_forty_tasks_killed_twenty_times_ends_in_the_same_tree(
    repository: Repository, tmp_path: Path
) -> None:
    compare(tmp_path, repository, tasks=40, kills=20, calm=2.0)
