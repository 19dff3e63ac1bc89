from __future__ import annotations

from tests.e2e.conftest import Repository, writes


def test_results_wait_while_a_killed_git_has_left_its_lock_and_the_run_names_it(
    repository: Repository,
) -> None:
    repository.tasks({"id": "a", "prompt": writes("a.txt", "a")})
    repository.commit("tasks")
    before = repository.git("rev-parse", "main")
    lock = repository.path / ".git/index.lock"
    lock.touch()
    done = repository.fleet("run")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{lock} is in the way" in done.stdout
    assert (repository.git("rev-parse", "main"), lock.exists()) == (before, True)
    assert repository.git("show", "fleet/landed:a.txt") == "a"
    lock.unlink()
    assert repository.fleet("run").returncode == 0
    assert repository.on_main("a.txt") == "a"
    assert repository.git("status", "--porcelain") == ""
    assert repository.audit() == ""
