from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.conftest import CONFIG, Repository, writes


def test_proven_tasks_land_and_a_second_run_does_nothing(repository: Repository) -> None:
    repository.tasks(
        {"id": "a", "prompt": writes("a.txt", "from a")},
        {"id": "b", "prompt": writes("b.txt", "from b")},
    )
    first = repository.fleet("run")
    assert first.returncode == 0, first.stdout + first.stderr
    assert repository.on_main("a.txt") == "from a"
    assert repository.on_main("b.txt") == "from b"
    assert (repository.path / "a.txt").read_text() == "from a\n"
    assert repository.git("status", "--porcelain", "--untracked-files=no") == ""
    tip = repository.git("rev-parse", "main")
    second = repository.fleet("run")
    assert second.returncode == 0
    assert "nothing to do" in second.stdout
    assert repository.git("rev-parse", "main") == tip
    assert repository.audit() == ""


def test_a_landed_commit_names_its_task(repository: Repository) -> None:
    repository.tasks({"id": "a", "title": "Say hello", "prompt": writes("a.txt", "hi")})
    assert repository.fleet("run").returncode == 0
    message = repository.git("log", "-1", "--format=%B", "main")
    assert message.startswith("Say hello\n")
    assert "Fleet-Task: a\nFleet-Epoch: 1\n" in message


def test_what_the_gate_rejects_does_not_land_and_its_findings_reach_the_next_attempt(
    repository: Repository,
) -> None:
    repository.tasks(
        {
            "id": "learns",
            "prompt": writes("a.txt", "bad", "@if-findings", "@write a.txt", "good", "@end", "@fi"),
        },
        {"id": "hopeless", "max_attempts": 2, "prompt": writes("b.txt", "bad")},
    )
    done = repository.fleet("run")
    assert done.returncode == 1
    assert repository.states() == {"learns": "merged", "hopeless": "failed"}
    assert repository.on_main("a.txt") == "good"
    assert "b.txt is bad" in repository.fleet("task", "show", "hopeless").stdout
    assert repository.audit() == ""


def test_two_that_conflict_both_land(repository: Repository) -> None:
    repository.tasks(
        {"id": "a", "prompt": "@append base.txt\nfrom a\n@end"},
        {"id": "b", "prompt": "@append base.txt\nfrom b\n@end"},
    )
    done = repository.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(repository.on_main("base.txt").splitlines()) == ["base", "from a", "from b"]
    assert repository.audit() == ""


def test_what_passes_alone_but_not_merged_does_not_land_as_it_is(repository: Repository) -> None:
    repository.write("old.txt", "here")
    repository.commit()
    repository.tasks(
        {"id": "removes", "prompt": "@delete old.txt\n@if-findings\n@delete user.txt\n@fi"},
        {"id": "uses", "max_attempts": 2, "prompt": writes("user.txt", "needs old.txt")},
    )
    repository.fleet("run")
    files = repository.git("ls-tree", "--name-only", "main").splitlines()
    assert not ("user.txt" in files and "old.txt" not in files)
    assert repository.audit() == ""


def test_a_dependent_starts_from_the_merged_head(repository: Repository) -> None:
    repository.tasks(
        {"id": "second", "depends_on": ["first"], "prompt": "@append chain.txt\ntwo\n@end"},
        {"id": "first", "prompt": writes("chain.txt", "one")},
    )
    done = repository.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.on_main("chain.txt") == "one\ntwo"


def test_dependents_of_a_failed_task_are_blocked_until_it_is_retried(
    repository: Repository,
) -> None:
    repository.tasks(
        {"id": "first", "max_attempts": 1, "prompt": "@on 1\n@exit 3"},
        {"id": "second", "depends_on": ["first"], "prompt": writes("b.txt", "b")},
    )
    assert repository.fleet("run").returncode == 1
    assert repository.states() == {"first": "failed", "second": "blocked"}
    repository.tasks(
        {"id": "first", "prompt": writes("a.txt", "a")},
        {"id": "second", "depends_on": ["first"], "prompt": writes("b.txt", "b")},
    )
    assert repository.fleet("task", "retry", "first").returncode == 0
    done = repository.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.states() == {"first": "merged", "second": "merged"}
    assert repository.audit() == ""


def test_a_change_outside_the_paths_of_its_task_is_refused(repository: Repository) -> None:
    repository.tasks(
        {"id": "a", "paths": ["src"], "max_attempts": 1, "prompt": writes("else.txt", "x")}
    )
    assert repository.fleet("run").returncode == 1
    assert "outside the paths" in repository.reason("a")


def test_the_command_of_the_gate_is_taken_from_the_base(repository: Repository) -> None:
    repository.tasks(
        {
            "id": "cheat",
            "max_attempts": 1,
            "prompt": writes("bad.txt", "bad", "@write check.py", "pass", "@end"),
        }
    )
    assert repository.fleet("run").returncode == 1
    assert "bad.txt" not in repository.git("ls-tree", "--name-only", "main")


def test_an_agent_that_changes_nothing_has_not_done_its_task(repository: Repository) -> None:
    repository.tasks({"id": "a", "max_attempts": 1, "prompt": "@say done!"})
    assert repository.fleet("run").returncode == 1
    assert "changed nothing" in repository.reason("a")


def test_no_gate_is_an_error_and_nothing_is_claimed(repository: Repository) -> None:
    repository.write("fleet.toml", CONFIG.format(agents=2, commands="[]"))
    repository.tasks({"id": "a", "prompt": writes("a.txt", "a")})
    done = repository.fleet("run")
    assert done.returncode == 3
    assert "nothing would be proven" in done.stderr
    assert repository.states() == {"a": "pending"}


def test_a_gate_that_cannot_run_on_the_base_pauses_the_fleet_instead_of_burning_tasks(
    repository: Repository,
) -> None:
    repository.write("fleet.toml", CONFIG.format(agents=2, commands='["no-such-checker"]'))
    repository.tasks(
        {"id": "a", "prompt": writes("a.txt", "a")}, {"id": "b", "prompt": writes("b.txt", "b")}
    )
    done = repository.fleet("run")
    assert done.returncode == 1
    assert "no-such-checker" in done.stdout
    assert "paused" in done.stdout
    listed = json.loads(repository.fleet("task", "list", "--json").stdout)
    assert {(entry["state"], entry["attempts"]) for entry in listed} == {("pending", 0)}
    repository.write("fleet.toml", CONFIG.format(agents=2, commands='["python3 check.py"]'))
    assert repository.fleet("run").returncode == 0


def test_a_problem_in_any_file_refuses_the_run_before_the_first_claim(
    repository: Repository,
) -> None:
    repository.tasks({"id": "a", "prompt": writes("a.txt", "a")})
    repository.write("tasks/broken.toml", "[[tasks]]\nid = 'b'\npromt = 'typo'\n")
    done = repository.fleet("run")
    assert done.returncode == 3
    assert "tasks/broken.toml:3" in done.stderr
    assert "prompt" in done.stderr
    listed = repository.fleet("task", "list")
    assert listed.returncode == 3
    assert "a" in listed.stdout


def test_a_missing_agent_is_said_before_any_attempt_is_burned(repository: Repository) -> None:
    repository.write("agents/ghost.toml", 'command = ["no-such-program-anywhere"]\n')
    repository.tasks({"id": "a", "agent": "ghost", "prompt": "x"})
    done = repository.fleet("run")
    assert done.returncode == 3
    assert "no-such-program-anywhere" in done.stderr
    (entry,) = json.loads(repository.fleet("task", "list", "--json").stdout)
    assert (entry["state"], entry["attempts"]) == ("pending", 0)


def test_results_wait_for_a_dirty_checkout_and_follow_when_it_is_clean(
    repository: Repository,
) -> None:
    repository.tasks({"id": "a", "prompt": writes("a.txt", "a")})
    repository.commit("tasks")
    (repository.path / "base.txt").write_text("my own work\n")
    before = repository.git("rev-parse", "main")
    done = repository.fleet("run")
    assert done.returncode == 1, done.stdout + done.stderr  # not on the branch is not landed
    assert "fleet/landed" in done.stdout
    assert repository.git("rev-parse", "main") == before
    assert (repository.path / "base.txt").read_text() == "my own work\n"
    assert repository.git("show", "fleet/landed:a.txt") == "a"
    repository.git("checkout", "base.txt")
    assert repository.fleet("run").returncode == 0
    assert repository.on_main("a.txt") == "a"
    assert (repository.path / "a.txt").exists()
    assert repository.git("branch", "--list", "fleet/landed") == ""
    assert repository.audit() == ""


def test_a_task_added_to_a_tracked_file_does_not_keep_results_from_landing(
    repository: Repository,
) -> None:
    repository.tasks({"id": "a", "prompt": writes("a.txt", "a")})
    repository.commit("tasks")
    assert repository.fleet("task", "add", writes("b.txt", "b"), "--id", "b").returncode == 0
    done = repository.fleet("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.on_main("b.txt") == "b"
    assert '"b"' in (repository.path / "tasks/tasks.toml").read_text()


def test_two_histories_that_conflict_are_left_to_a_person(repository: Repository) -> None:
    repository.tasks({"id": "a", "prompt": "@append base.txt\nfrom a\n@end"})
    repository.commit("tasks")
    (repository.path / "base.txt").write_text("mine\n")
    repository.fleet("run")
    repository.commit("mine")
    done = repository.fleet("run")
    assert done.returncode == 1
    assert "diverged" in done.stdout
    assert "--ff-only" not in done.stdout
    repository.git("merge", "-q", "-X", "ours", "fleet/landed", "-m", "both")
    assert repository.fleet("run").returncode == 0
    assert "paused" not in repository.fleet("status").stdout


def test_an_untracked_file_is_never_overwritten(repository: Repository) -> None:
    repository.tasks({"id": "a", "prompt": writes("a.txt", "from a")})
    (repository.path / "a.txt").write_text("mine\n")
    done = repository.fleet("run")
    assert "fleet/landed" in done.stdout
    assert (repository.path / "a.txt").read_text() == "mine\n"


def test_the_prompt_and_output_of_an_attempt_are_kept(repository: Repository) -> None:
    repository.tasks({"id": "a", "prompt": writes("a.txt", "a", "@say hello there")})
    assert repository.fleet("run").returncode == 0
    assert "hello there" in repository.fleet("log", "a").stdout
    attempt = Path(repository.git("rev-parse", "--absolute-git-dir")) / "fleet/attempts/a.1"
    assert "@say hello there" in (attempt / "prompt.md").read_text()
    assert json.loads((attempt / "gate.json").read_text())["verdict"] == "pass"
    assert (attempt / "prompt.md").stat().st_mode & 0o077 == 0
