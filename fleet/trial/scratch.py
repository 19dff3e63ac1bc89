"""The scratch repository of a trial, its tasks, and the model that plays along."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.core.profile import Profile
from fleet.process.command import run
from fleet.store.layout import Layout

ONE, TWO, KILLED, STEERED = "trial-one", "trial-two", "trial-killed", "trial-steered"
NOTE = "Fleet trial: the magic word is plugh."
BEGUN, LATE, HOW, HEARD = "begun.txt", "late.txt", "how.txt", "heard.txt"
SLOW_S = 3  # of the model's first answer to the one that is steered

LATE_S = 4  # after it has begun, the tool of the one that is killed would write on
_TOOL = f"echo begun > {BEGUN}; sleep {LATE_S}; echo late > {LATE}; git add -A; git commit -qm late"
_CONFIG = """\
[fleet]
agents = 1
agent = "{agent}"
max_attempts = 2
timeout = "90s"
retry_delay = "0.1s"

[gate]
commands = ["true"]

[proxy.upstreams.trial]
kind = "script"
script = "model.toml"
"""
_PROMPTS = {
    ONE: "Fleet trial, first part: write trial.txt.",
    TWO: "Fleet trial, first part: write trial.txt.",
    KILLED: "Fleet trial, second part: be killed.",
    STEERED: "Fleet trial, third part: take a note.",
}
# A task's words are looked for at the start of a line: agents are also shown the latest commits.
# An agent without a shell tool gets the text: the block is how aider is told to edit.
_MODEL = f"""\
[[rules]]
when = 'magic word is plugh'
tool = "bash"
input = {{ command = "echo heard > {HEARD}" }}
times = 1

[[rules]]
when_result = 'magic word is plugh'  # some agents add what they are told to what a tool printed
tool = "bash"
input = {{ command = "echo heard > {HEARD}" }}
times = 1

[[rules]]
when = 'You were interrupted while you worked'
tool = "bash"
input = {{ command = "echo resumed > {HOW}" }}
times = 1

[[rules]]
when = 'Somebody began with this task'
tool = "bash"
input = {{ command = "echo afresh > {HOW}" }}
times = 1

[[tasks]]
prompt = '(?m)^Fleet trial, first part: write trial\\.txt'
[[tasks.steps]]
text = '''
trial.txt
```
<<<<<<< SEARCH
=======
tried
>>>>>>> REPLACE
```
'''
tool = "bash"
input = {{ command = 'echo tried > "trial.txt"; echo "$FLEET_TASK" > "$FLEET_TASK.txt"; echo ok' }}
[[tasks.steps]]
text = "Written."

[[tasks]]
prompt = '(?m)^Fleet trial, second part: be killed'
[[tasks.steps]]
tool = "bash"
input = {{ command = '{_TOOL}' }}
[[tasks.steps]]
text = "Done."

[[tasks]]
prompt = '(?m)^Fleet trial, third part: take a note'
[[tasks.steps]]
tool = "bash"
input = {{ command = 'echo first > first.txt; echo ok' }}
delay = {SLOW_S}
[[tasks.steps]]
text = "Done."
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """`root` is ours alone; the repository is in it, and so is the cache."""

    root: Path
    env: Mapping[str, str]

    @property
    def top(self) -> Path:
        return self.root / "repository"

    def tape(self, task: str) -> Path:
        """Where the exchanges of one run are kept."""
        return self.root / "tape" / task

    @property
    def layout(self) -> Layout:
        cache = self.root / "cache" / "fleet"
        return Layout(common_dir=self.top / ".git", top=self.top, cache=cache)

    def add(self, task: str) -> None:
        """One more task for the next run."""
        text = f'[[tasks]]\nid = "{task}"\nprompt = "{_PROMPTS[task]}"\n'
        (self.top / "tasks" / f"{task}.toml").write_text(text)

    def git(self, *words: str) -> str:
        done = run(["git", *words], cwd=self.top, env=self.env, timeout_s=30)
        if not done.ok:
            raise FleetError(f"the scratch repository of the trial: {done.complaint}")
        return done.text

    def landed(self, name: str) -> str:
        """A file as the branch has it; "" if it has none."""
        done = run(["git", "show", f"main:{name}"], cwd=self.top, env=self.env, timeout_s=30)
        return done.text if done.ok else ""


def make(root: Path, environ: Mapping[str, str], profile: Profile) -> Scratch:
    """A repository of one commit whose fleet knows the profile, wherever it came from."""
    scratch = Scratch(
        root=root,
        env={
            **environ,
            "XDG_CACHE_HOME": str(root / "cache"),
            "GIT_AUTHOR_NAME": "fleet trial",
            "GIT_AUTHOR_EMAIL": "trial@localhost",
            "GIT_COMMITTER_NAME": "fleet trial",
            "GIT_COMMITTER_EMAIL": "trial@localhost",
        },
    )
    top = scratch.top
    (top / "tasks").mkdir(parents=True)
    (top / "README.md").write_text("# A trial\n")
    (top / "model.toml").write_text(_MODEL)
    (top / "fleet.toml").write_text(_CONFIG.format(agent=profile.name))
    shutil.copytree(profile.folder, top / "agents", symlinks=True)
    scratch.git("init", "-q", "-b", "main")
    scratch.git("add", "-A")
    scratch.git("commit", "-q", "-m", "A trial")
    return scratch
