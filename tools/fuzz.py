"""Search for model files and tables that fastnn does not refuse as it should, guided by coverage.

    python -P tools/fuzz.py --minutes 30 --kind model

Each input must be refused with `fastnn.FormatError` (tables: ValueError), whose message is short
and printable, or be of use, in little memory and time. Inputs that reach new code are kept in a
corpus, from which the next search goes on. The first input that fails is written to a file, and the
exit status is not 0.

It needs atheris (the extra ``fuzz``), and tests/support for the valid files that it begins with.
"""

from __future__ import annotations

import argparse
import pathlib
import resource
import sys
import tempfile

import atheris

HERE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "tests" / "support"))
MEMORY = 3 << 30  # bytes of addresses; what asks for more gets MemoryError, which is a finding
TIME = 20  # seconds for an input

with atheris.instrument_imports(include=["fastnn"], enable_loader_override=False):
    import mutations

    import fastnn as fnn
    from fastnn.tabular import reading


def model_file(bases: list[bytes]) -> None:
    """Fuzz model files: the input says how a valid one is changed, or is a file."""

    def test(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        if provider.ConsumeIntInRange(0, 7) == 0:
            mutations.checked(provider.ConsumeBytes(1 << 16))
            return
        base = provider.PickValueInList(bases)
        is_signed = provider.ConsumeBool()
        changes = []
        for _ in range(provider.ConsumeIntInRange(1, 6)):
            kind = provider.PickValueInList(list(mutations.KINDS))
            numbers = (provider.ConsumeIntInRange(0, 10**6) for _ in range(3))
            changes.append((kind, provider.ConsumeBool(), *numbers))
        mutations.checked(mutations.mutated(base, changes, is_signed=is_signed))

    atheris.Setup(sys.argv, test)


def table(suffixes: list[str]) -> None:
    """Fuzz tables: the first byte says which kind of file the others are."""
    folder = pathlib.Path(tempfile.mkdtemp())

    def test(data: bytes) -> None:
        if not data:
            return
        suffix = suffixes[data[0] % len(suffixes)]
        path = folder / f"a{suffix}"
        path.write_bytes(data[1:])
        try:
            reading.read(path, target="y")
        except ValueError as error:
            message = str(error)
            assert len(message) < 2 * mutations.LONGEST, message[:300]
            assert fnn.core.printing.printable(message) == message, repr(message)

    atheris.Setup(sys.argv, test)


def seeds(kind: str, folder: pathlib.Path) -> None:
    """Write the first inputs to the corpus."""
    if kind == "model":
        for name, content in mutations.bases().items():
            (folder / name).write_bytes(b"\0" + content)
        return
    import io

    import numpy as np

    content = io.BytesIO()
    np.savez(content, x=np.eye(3), y=np.arange(3))
    texts = [
        b"a,b\n1,2\n3,x\n",
        b'a;b\n"1,5";"x;y"\n',
        b"a\tb\n1\t2\n",
        "é,ü\n1,2\n".encode("cp1252"),
    ]
    for i, text in enumerate(texts):
        (folder / f"text-{i}").write_bytes(b"\0" + text)
    (folder / "arrays").write_bytes(b"\1" + content.getvalue())


def main() -> None:
    """Read the arguments, and search."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--kind", choices=("model", "table"), default="model")
    parser.add_argument("--output", default="out/fuzz", help="folder of corpus and findings")
    args = parser.parse_args()
    corpus = pathlib.Path(args.output) / args.kind
    corpus.mkdir(parents=True, exist_ok=True)
    seeds(args.kind, corpus)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.argv = [
        sys.argv[0], str(corpus), f"-max_total_time={round(60 * args.minutes)}",
        f"-timeout={TIME}", "-rss_limit_mb=0", "-max_len=20000", "-print_final_stats=1",
        f"-artifact_prefix={args.output}/{args.kind}-",
    ]  # fmt: skip
    if args.kind == "model":
        model_file(list(mutations.bases().values()))
    else:
        table([".csv", ".npz", ".csv.gz", ".csv.xz", ".tsv"])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
