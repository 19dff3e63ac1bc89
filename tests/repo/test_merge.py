from __future__ import annotations

import pytest

from fleet.repo.git import GitError
from fleet.repo.merge import changes, commit, merge, overlay
from tests.repo.scene import AT, Scene, git, write
from tests.repo.scene import commit as user_commits

LINES = "".join(f"{n}\n" for n in range(20))


def test_work_on_different_lines_merges(scene: Scene) -> None:
    user_commits(scene.top, {"lines": LINES})
    ours = scene.landing({"lines": f"top\n{LINES}"})
    theirs = scene.landing({"lines": f"{LINES}bottom\n"})
    merged = merge(scene.hub, ours, theirs)
    assert merged.conflicts == ()
    assert scene.hub.read_file(merged.tree, "lines") == f"top\n{LINES}bottom\n".encode()


def test_conflicts_name_each_file_once(scene: Scene) -> None:
    names = ("a.txt", "sp ace\n", "ünï")
    user_commits(scene.top, dict.fromkeys(names, "base\n"))
    ours = scene.landing(dict.fromkeys(names, "ours\n"))
    theirs = scene.landing(dict.fromkeys(names, "theirs\n") | {"fine": "f"})
    assert sorted(merge(scene.hub, ours, theirs).conflicts) == sorted(names)


def test_attributes_do_not_choose_how_to_merge(scene: Scene) -> None:
    user_commits(scene.top, {".gitattributes": "* merge=union\n"})
    ours, theirs = scene.landing({"a.txt": "ours\n"}), scene.landing({"a.txt": "theirs\n"})
    assert merge(scene.hub, ours, theirs).conflicts == ("a.txt",)


def test_merging_what_is_not_there_is_an_error_not_a_conflict(scene: Scene) -> None:
    with pytest.raises(GitError, match="merge-tree"):
        merge(scene.hub, scene.tip(), "1" * 40)


def test_the_same_arguments_make_the_same_commit(scene: Scene) -> None:
    tip = scene.tip()
    tree = scene.hub.tree_of(tip)

    def make(message: str, at: int = AT) -> str:
        return commit(
            scene.hub, tree, (tip, tip), message, author_name="Á", author_email="a@b", at=at
        )

    first = make("Überschrift\n\nbody\n")
    assert make("Überschrift\n\nbody\n") == first
    assert make("Überschrift\n\nbody\n", AT + 1) != first
    shown = git(scene.hub.path, "show", "--no-patch", "--format=%an|%at|%ct|%s", first)
    assert shown == f"Á|{AT}|{AT}|Überschrift"


def test_any_message_and_time_can_be_committed(scene: Scene) -> None:
    tip = scene.tip()
    for message, at in (("nul\0byte", 1), ("lone \udcff surrogate", 0), ("", AT)):
        made = commit(
            scene.hub,
            scene.hub.tree_of(tip),
            (tip,),
            message,
            author_name="a",
            author_email="a@b",
            at=at,
        )
        assert scene.hub.is_ancestor(tip, made)


def test_every_kind_of_change_is_told(scene: Scene) -> None:
    user_commits(scene.top, {"gone": "g", "kept": "k", "turned": "t", "edited": "e", "moved": "mm"})
    attempt = scene.attempt()
    (attempt.work / "gone").unlink()
    (attempt.work / "turned").unlink()
    (attempt.work / "turned").symlink_to("kept")
    (attempt.work / "moved").rename(attempt.work / "new\nname")
    write(attempt.work, {"edited": "edited", "empty": ""})
    (attempt.work / "kept").chmod(0o755)
    head = attempt.harvest().head
    trees = [scene.hub.tree_of(rev) for rev in (attempt.base, head)]
    found = {c.path: (c.status, c.mode, c.size) for c in changes(scene.hub, trees[0], trees[1])}
    assert found == {
        "gone": ("D", "", 0),
        "turned": ("T", "120000", 4),
        "moved": ("D", "", 0),
        "new\nname": ("A", "100644", 2),
        "edited": ("M", "100644", 6),
        "empty": ("A", "100644", 0),
        "kept": ("M", "100755", 1),
    }


def test_equal_trees_have_no_changes(scene: Scene) -> None:
    tree = scene.hub.tree_of(scene.tip())
    assert changes(scene.hub, tree, tree) == ()


def test_a_submodule_is_told_without_a_size(scene: Scene) -> None:
    attempt = scene.attempt()
    git(attempt.work, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lib")
    git(attempt.work, "commit", "--quiet", "-m", "submodule")
    head = attempt.harvest().head
    [change] = changes(scene.hub, scene.hub.tree_of(attempt.base), scene.hub.tree_of(head))
    assert (change.path, change.status, change.mode, change.size) == ("lib", "A", "160000", 0)


def test_given_paths_are_taken_back(scene: Scene) -> None:
    user_commits(scene.top, {"kept": "base", "deleted": "base", "sp ace\n": "base"})
    attempt = scene.attempt()
    (attempt.work / "deleted").unlink()
    write(attempt.work, {"kept": "x", "sp ace\n": "x", "added/by/it": "x", "wanted": "x"})
    head = attempt.harvest().head
    trees = [scene.hub.tree_of(rev) for rev in (attempt.base, head)]
    paths = ("kept", "deleted", "sp ace\n", "added/by/it", "in/neither")
    restored = overlay(scene.hub, trees[1], trees[0], paths)
    assert [c.path for c in changes(scene.hub, trees[0], restored)] == ["wanted"]
    assert overlay(scene.hub, trees[1], trees[0], ()) == trees[1]


def test_a_file_that_became_a_folder_is_taken_back(scene: Scene) -> None:
    user_commits(scene.top, {"file": "base", "folder/x": "base"})
    attempt = scene.attempt()
    (attempt.work / "file").unlink()
    (attempt.work / "folder/x").unlink()
    (attempt.work / "folder").rmdir()
    write(attempt.work, {"file/inside": "x", "folder": "x"})
    head = attempt.harvest().head
    trees = [scene.hub.tree_of(rev) for rev in (attempt.base, head)]
    paths = ("file/inside", "file", "folder", "folder/x")
    assert overlay(scene.hub, trees[1], trees[0], paths) == trees[0]
    alone = overlay(scene.hub, trees[1], trees[0], ("file",))
    assert scene.hub.list_files(alone)[1:] == ("file", "folder", "sub/b.txt")


def test_nothing_is_left_in_the_hub_by_an_overlay(scene: Scene) -> None:
    before = set(scene.hub.path.iterdir())
    head = scene.landing({"a.txt": "x"})
    base_tree = scene.hub.tree_of(scene.tip())
    assert overlay(scene.hub, scene.hub.tree_of(head), base_tree, ("a.txt",)) == base_tree
    assert set(scene.hub.path.iterdir()) == before
