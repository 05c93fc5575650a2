# Starts Python ahead of its program. The command is that of a program without arguments
# (python3 main.py), with this folder first in PYTHONPATH: Python imports a module of this
# name while it starts, before it looks at the file that it is to run. Here all that tells
# of this is taken back, and then it waits until there is a program; Python goes on by
# itself then, so that the program is run as any other.
def _wait():
    import os
    import sys

    folder = os.path.dirname(__file__)
    socket = 255
    # What a program takes for granted is ready then: the compiler, files, text.
    with open(__file__, encoding="utf-8") as file:
        exec("if 0:\n" + "".join("  " + line for line in file), {})
    exec("f'{1:.1f}' + str([x for x in (1, 2)])", {})

    os.environ.pop("PYTHONPATH", None)
    sys.path[:] = [p for p in sys.path if p != folder]
    sys.path_importer_cache.pop(folder, None)
    del sys.modules[__name__]
    # The module that Python would have found, if there is one; if not, this says so as the
    # import would have, when the program comes.
    missing = None
    try:
        import sitecustomize
    except ImportError as error:
        missing = error

    os.write(socket, b"r")
    message = b""
    while part := os.read(socket, 1 << 16):
        message += part
    os.close(socket)
    if not message:
        os._exit(0)  # no program will come
    arguments = [os.fsdecode(a) for a in message.split(b"\0")[1:-1]]
    sys.argv.extend(arguments)
    sys.orig_argv.extend(arguments)
    if missing:
        try:
            raise missing
        finally:
            del missing  # its traceback has this frame


_wait()
del _wait
