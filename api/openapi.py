"""The description of the API."""

from typing import Any


async def description(call: Any) -> Any: ...
async def docs_page(call: Any) -> Any: ...
