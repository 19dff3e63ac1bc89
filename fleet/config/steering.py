"""Files that make the tools of people and of later agents do something, unlike any other text.

A tool that opens the repository runs what they say, or an agent obeys them; so a change of them
lands only when a task asks for it by name. `fleet.toml` may list other protected files instead.
A folder is named without `/**`, so that a link in its place is protected too.
"""

from __future__ import annotations

STEERING = (
    # what git does with files, and where it fetches from
    "**/.gitattributes",
    ".gitmodules",
    ".lfsconfig",
    # what other agents are told, allowed, and connected to
    "**/AGENTS.md",
    "**/AGENTS.override.md",
    "**/CLAUDE.md",
    "**/CLAUDE.local.md",
    "**/GEMINI.md",
    "**/QWEN.md",
    "**/.claude",
    "**/.mcp.json",
    "**/.codex",
    "**/.gemini",
    "**/.qwen",
    "**/.opencode",
    "**/opencode.json",
    "**/opencode.jsonc",
    "**/.cursor",
    "**/.cursorrules",
    "**/.aider.conf.yml",
    "**/.clinerules",
    "**/.windsurfrules",
    "**/.agents",
    # what an editor, a shell or a hook runs
    "**/.vscode",
    "**/*.code-workspace",
    "**/.idea",
    "**/.devcontainer",
    "**/.envrc",
    "**/.husky",
    "**/.pre-commit-config.yaml",
    "**/lefthook.yml",
    "**/.lefthook.yml",
    # which of a person's ignored files every workspace is given
    ".worktreeinclude",
)
