from __future__ import annotations

import asyncio

import pytest

from fleet.core.errors import HeldError, StorageError, unwrapped


def test_what_a_user_can_act_on_comes_out_of_task_groups() -> None:
    async def fail() -> None:
        raise StorageError("no space")

    async def main() -> None:
        with unwrapped():
            async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
                outer.create_task(asyncio.sleep(10))
                inner.create_task(fail())

    with pytest.raises(StorageError, match="no space"):
        asyncio.run(main())


def test_other_faults_stay_what_they_are() -> None:
    with pytest.raises(ExceptionGroup), unwrapped():
        raise ExceptionGroup("bugs", [ValueError("one")])
    with pytest.raises(HeldError), unwrapped():
        raise HeldError("alone")
