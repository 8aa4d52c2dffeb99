"""`python -m ops` is `heliograph`."""

import sys


def _run() -> None:
    if sys.argv[1:2] == ["role"] and sys.argv[3:5] == ["--supervised", "--data-dir"]:
        # As the supervisor starts it: seven at once on few cores, so without the command line's imports, nor
        # those of structlog for coloured tracebacks.
        sys.modules["rich"] = None  # type: ignore[assignment]
        import structlog  # noqa: F401

        del sys.modules["rich"]
        from ops.role_command import run_supervised_command

        run_supervised_command(sys.argv[2], sys.argv[5])
    from ops.cli import main

    main()


_run()
