"""How files are called that a producer keeps without names."""


def shards(stem: str, suffix: str, count: int) -> list[str]:
    """Names for the parts of one thing, as llama.cpp and Hugging Face number them; a lone part needs no number."""
    if count == 1:
        return [f"{stem}{suffix}"]
    return [f"{stem}-{number:05d}-of-{count:05d}{suffix}" for number in range(1, count + 1)]


def numbered(name: str, count: int) -> list[str]:
    """Names for several things of one kind: the first has the plain name, the others `.2`, `.3` and so on behind it."""
    return [name if number == 1 else f"{name}.{number}" for number in range(1, count + 1)]
