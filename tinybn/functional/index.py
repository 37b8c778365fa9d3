"""Reading and writing by index."""

__all__: list[str] = []
