"""What an experiment could try. Each attack is code that raises when it is stopped, and returns when it is not.

It finds ``W`` (places and processes of the machine that the test set up, see ``test_sandbox.World``), ``WARM``
(pid of the process that every fold of the slot is forked from), ``call`` (a raw system call) and ``fresh`` (a
process in which to try what might not come back).
"""

from __future__ import annotations

PRELUDE = """
import ctypes, errno, glob, json, mmap, os, platform, signal, socket, stat, subprocess, sys, time
from pathlib import Path

ARM = platform.machine() == "aarch64"
LIBC = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    # A system call by its number, or by its (x86-64, ARM64) numbers.
    number = number[ARM] if isinstance(number, tuple) else number
    result = LIBC.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def verdict(attack):
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = f"open: {attack()!r:.200}"
        except BaseException as error:
            said = f"stopped: {type(error).__name__}: {error}"
        os.write(theirs, said.encode()[:4000])
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    return said or "stopped: the process died"

def first(act, things):
    error = FileNotFoundError("there is none")
    for thing in things:
        try:
            return act(thing), thing
        except OSError as problem:
            error = problem
    raise error

def unless(condition, what):
    if condition:
        raise PermissionError(what)
    return "changed"
"""

ATTACKS = {
    # Reading
    "the Kaggle token": "return Path(W['home'], '.kaggle/kaggle.json').read_text()",
    "the hidden labels": "return Path(W['workspace'], 'hidden.csv').read_text()",
    "the workspace": "return os.listdir(W['workspace'])",
    "files of other folds": "return [Path(W['cache'], name).read_bytes()[:9] for name in os.listdir(W['cache'])]",
    "a file of another fold, by name": "return Path(W['other_fold']).read_bytes()[:9]",
    "a hard link to the labels": "os.link(W['workspace'] + '/hidden.csv', 'mine'); return Path('mine').read_text()",
    "passwords": "return Path('/etc/shadow').read_text()",
    "the environment": "return next(name for name, value in os.environ.items() if W['canary'] in name + value)",
    "environments of others": """
        found = []
        for path in glob.glob("/proc/[0-9]*/environ"):
            try:
                found.append(path) if W["canary"] in Path(path).read_text(errors="replace") else None
            except OSError:
                pass
        return found[0]
    """,
    "the engine's environment": "return Path(f\"/proc/{W['engine']}/environ\").read_bytes()",
    "command lines of others": "return Path(f\"/proc/{W['engine']}/cmdline\").read_bytes()",
    "whether a file exists": "return os.stat(W['workspace'] + '/hidden.csv')",
    "the disk": "return first(open, glob.glob('/dev/[vs]d*') + ['/dev/mem', '/dev/kmsg'])",
    "the kernel's log": "return call((103, 116), 3, ctypes.create_string_buffer(99), 99)",
    "packages of the project": "import autokaggle_tui; return autokaggle_tui.__file__",
    # Writing
    "a file in the workspace": "return Path(W['workspace'], 'new').write_text('x')",
    "a file where all may write": "return Path(W['public'], 'new').write_text('x')",
    "deleting the data": "return os.unlink(W['other_fold'])",
    "truncating the data": "return os.truncate(W['other_fold'], 0)",
    "renaming the workspace": "return os.rename(W['workspace'], W['workspace'] + '-gone')",
    "modes of files": """
        before = os.stat(W["public"]).st_mode
        os.chmod(W["public"], 0)
        return unless(os.stat(W["public"]).st_mode == before, "nothing changed")
    """,
    "extended attributes": """
        os.setxattr(W["public"], "user.x", b"1")
        return unless("user.x" not in os.listxattr(W["public"]), "nothing changed")
    """,
    "the libraries": "return Path(np.__file__).with_name('new.py').write_text('x')",
    "the code that runs folds": "import experiments; return Path(experiments.__file__).with_name('x').write_text('')",
    "the root folder": "return Path('/new').write_text('x')",
    "the devices' folder": "return Path('/dev/new').write_text('x')",
    "kernel settings": "return Path('/proc/sys/kernel/core_pattern').write_text('|/bin/sh')",
    "control groups": """
        return first(os.mkdir, ["/sys/fs/cgroup/new", *(f"{path}/new" for path in glob.glob("/sys/fs/cgroup/*"))])
    """,
    "a device file": "return os.mknod('disk', 0o600 | stat.S_IFBLK, os.makedev(254, 0))",
    "the data, through its descriptor": """
        def again(name):
            target = os.readlink(f"/proc/self/fd/{name}")
            if not stat.S_ISREG(os.stat(f"/proc/self/fd/{name}").st_mode) or target.startswith("/memfd:"):
                raise PermissionError("no file")
            return os.open(f"/proc/self/fd/{name}", os.O_RDWR)
        return first(again, os.listdir("/proc/self/fd"))
    """,
    # Talking
    "TCP": "s = socket.socket(); s.connect(('127.0.0.1', W['port'])); return s",
    "TCP over IPv6": "return socket.socket(socket.AF_INET6)",
    "UDP": "s = socket.socket(type=socket.SOCK_DGRAM); s.sendto(b'x', ('127.0.0.1', W['port'])); return s",
    "raw sockets": "return socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "netlink": "return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "the hypervisor's socket": "return socket.socket(40, socket.SOCK_STREAM)",
    "the kernel's cryptography": "return socket.socket(38, socket.SOCK_SEQPACKET)",
    "bluetooth": "return socket.socket(31, socket.SOCK_RAW, 1)",
    "abstract sockets": "s = socket.socket(socket.AF_UNIX); s.connect(chr(0) + W['abstract']); return s",
    "sockets of other programs": "s = socket.socket(socket.AF_UNIX); s.connect(W['socket']); return s",
    "datagrams to other programs": """
        one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        return one.sendmsg([b"x"], [], 0, W["datagrams"])
    """,
    # Other processes
    "a signal to the engine": "return os.kill(W['engine'], 0)",
    "a signal to another program": "return os.kill(W['bystander'], 0)",
    "the warm process's memory": "return open(f'/proc/{WARM}/mem', 'r+b')",
    "the warm process's memory map": "return Path(f'/proc/{WARM}/maps').read_text()[0]",
    "the warm process's descriptors": "return os.listdir(f'/proc/{WARM}/fd')",
    "the warm process's root folder": "return os.listdir(f'/proc/{WARM}/root')",
    "the warm process's sockets": "return call(438, os.pidfd_open(WARM), 3, 0)",
    "tracing the warm process": "return call((101, 117), 16, WARM, 0, 0)",
    "reading another's memory": """
        class Span(ctypes.Structure):
            _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
        buffer = ctypes.create_string_buffer(8)
        mine = Span(ctypes.addressof(buffer), 8)
        return call((310, 270), WARM, ctypes.byref(mine), 1, ctypes.byref(mine), 1, 0)
    """,
    "signals to the warm process": "return os.kill(WARM, signal.SIGTERM)",
    "stopping the warm process": "return os.kill(WARM, signal.SIGSTOP)",
    "limits of the warm process": """
        import resource
        return resource.prlimit(WARM, resource.RLIMIT_NOFILE, (8, 8))
    """,
    "priority of the warm process": "return os.setpriority(os.PRIO_PROCESS, WARM, 19)",
    "scheduling of the warm process": "return os.sched_setscheduler(WARM, os.SCHED_IDLE, os.sched_param(0))",
    "being killed last": "return Path('/proc/self/oom_score_adj').write_text('-500')",
    "not being killed first": "return Path('/proc/self/oom_score_adj').write_text('0')",
    "hiding from the watchdog": "return unless(LIBC.prctl(4, 0, 0, 0, 0), 'refused')",
    # The kernel
    "io_uring": "return call(425, 8, ctypes.create_string_buffer(120))",
    "bpf": "return call((321, 280), 5, ctypes.create_string_buffer(120), 120)",
    "performance counters": "return call((298, 241), ctypes.create_string_buffer(120), 0, -1, -1, 0)",
    "userfaultfd": "return call((323, 282), 1)",
    "a kernel module": "return call((175, 105), ctypes.create_string_buffer(8), 8, ctypes.create_string_buffer(8))",
    "keys": "return call((248, 217), b'user', b'x', b'secret', 6, -3)",
    "shared memory that stays": "return call((29, 194), 4711, 4096, 0o1666)",
    "semaphores that stay": "return call((64, 190), 4711, 1, 0o1666)",
    "messages that stay": "return call((68, 186), 4711, 0o1666)",
    "message queues that stay": "return call((240, 180), b'left', os.O_CREAT | os.O_RDWR, 0o666, None)",
    "memory without a name": "return os.memfd_create('x')",
    "a namespace of users": "return call((272, 97), 0x10000000)",
    "a namespace of mounts": "return call((272, 97), 0x00020000)",
    "clone into a namespace": """
        pid = call((56, 220), 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
        return pid or os._exit(0)
    """,
    "clone3": """
        import struct
        return call(435, struct.pack("8Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64) or os._exit(0)
    """,
    "a mount": "return call((165, 40), b'none', b'.', b'tmpfs', 0, None)",
    "a mount, the new way": "return call(430, b'tmpfs', 0)",
    "another root": "return os.chroot('.')",
    "another user": "return os.setuid(0)",
    "other groups": "return os.setgroups([0])",
    "a program with privileges": """
        found = [p for p in glob.glob("/usr/bin/*") if os.stat(p).st_mode & stat.S_ISUID and os.access(p, os.X_OK)]
        status = Path("/proc/self/status").read_text()
        return unless("NoNewPrivs:\\t1" in status and "CapBnd:\\t" in status, f"{len(found)} programs gain nothing")
    """,
    "capabilities": """
        status = Path("/proc/self/status").read_text().split()
        held = [status[status.index(f"Cap{kind}:") + 1] for kind in ("Inh", "Prm", "Eff", "Amb")]
        return unless(not int("".join(held), 16), "none")
    """,
    "typing into a terminal": """
        import fcntl
        try:
            return fcntl.ioctl(0, 0x5412, b"x")
        except OSError as error:
            return unless(error.errno == errno.EPERM, "refused")
    """,
    "another personality": "return call((135, 92), 0x0400000)",
    "the clock": "return time.clock_settime(time.CLOCK_REALTIME, time.time())",
    "the machine's name": "return socket.sethostname('x')",
    "system calls to come": "return call(500)",
    "x32 system calls": "return call(0x40000000 + 39)",
    "its own filter": "return unless(LIBC.prctl(22, 1, 0, 0, 0), 'refused')",
}
"""Each by what it is after."""

KNOWN_OPEN: dict[str, dict[str, str]] = {
    "bubblewrap": {},
    "landlock": {
        "command lines of others": "Landlock cannot tell one's own folders in /proc from those of others",
        "whether a file exists": "Landlock guards what is in files and folders, not their names and sizes",
    },
    "landlock as an ordinary user": {
        "command lines of others": "as above",
        "whether a file exists": "as above",
    },
}
"""What each tier does not stop, and why."""

LEAVE = """
    import ctypes, os
    from pathlib import Path
    def tried(act):
        try:
            act()
        except OSError:
            pass
    for folder in ("/", "/dev", "/dev/shm", "/tmp", "/var/tmp", "/packages", "..", "../..", ".", str(Path.home())):
        tried(lambda: Path(folder, "left").write_text("rows"))
        tried(lambda: os.mkdir(Path(folder, "left.d"), 0o700))
        tried(lambda: os.setxattr(folder, "user.left", b"rows"))
    deep = os.getcwd()
    for _ in range(40):
        os.mkdir("d" * 50); os.chdir("d" * 50)
    os.chdir(deep)
    os.mkdir("closed"); Path("closed/file").write_text("x"); os.chmod("closed", 0)
    os.symlink(W["workspace"], "link"); os.symlink("/", "root"); os.mkfifo("pipe")
    Path("..").joinpath("-rf").write_text("x")
    tried(lambda: os.chmod("..", 0)); tried(lambda: os.chmod("/dev/shm", 0))
    tried(lambda: os.sched_setaffinity(os.getppid(), {min(os.sched_getaffinity(0))}))
    os.environ["LEFT"] = "rows"
    np.left = 1
"""

LOOK = """
    import os
    from pathlib import Path
    found = []
    for folder in ("/", "/dev", "/dev/shm", "/tmp", "/var/tmp", "/packages", "..", "../.."):
        try:
            found += [f"{folder}/{name}" for name in os.listdir(folder) if "left" in name or name == "-rf"]
            found += [f"{folder}: {name}" for name in os.listxattr(folder) if "left" in name]
        except OSError:
            pass
    ctx.report(found=found, here=os.listdir(), mode=oct(os.stat("..").st_mode), left="LEFT" in os.environ,
               module=hasattr(np, "left"), processors=len(os.sched_getaffinity(0)))
"""

RESOURCES: dict[str, tuple[str, str | tuple[str, ...], str | tuple[str, ...]]] = {
    "a fork bomb": (
        """
        import os
        for _ in range(20):
            try:
                os.fork()
            except BlockingIOError:
                pass
        import signal; signal.pause()
        """,
        "timeout",
        "time limit",
    ),
    "threads without end": (
        """
        import threading, time
        while True:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        """,
        "crash",
        "can't start new thread",
    ),
    "memory in one process": ("x = bytearray(3 << 30)", "crash", "MemoryError"),
    "memory in four processes": (
        """
        import os, signal, time
        for _ in range(4):
            if os.fork() == 0:
                x = bytearray(os.urandom(1 << 20)) * 300
                signal.pause()
        signal.pause()
        """,
        "crash",
        ("was killed: it holds", "was killed: it needed more memory"),
    ),
    "memory that is shared": (
        """
        import mmap, signal
        m = mmap.mmap(-1, 1 << 30)
        for position in range(0, 1 << 30, 4096):
            m[position] = 1
        signal.pause()
        """,
        "crash",
        ("was killed: it holds", "was killed: it needed more memory"),
    ),
    "a full disk, in one file": (
        """
        with open("big", "wb") as file:
            while True:
                file.write(bytes(1 << 20))
        """,
        "crash",
        "OSError",
    ),
    "a full disk, in many files": (
        """
        import signal
        for number in range(200):
            with open(str(number), "wb") as file:
                file.write(bytes(1 << 20))
        signal.pause()
        """,
        "crash",
        ("OSError", "was killed: it holds", "was killed: it needed more memory"),
    ),
    "a full disk, in files without a name": (
        """
        import os, signal
        files = []
        for number in range(200):
            files.append(open("f", "wb", buffering=0)); os.unlink("f")
            files[-1].write(bytes(1 << 20))
        signal.pause()
        """,
        "crash",
        ("OSError", "was killed: it holds", "was killed: it needed more memory"),
    ),
    "a full /dev/shm": (
        """
        import signal
        for number in range(200):
            with open(f"/dev/shm/left-{number}", "wb") as file:
                file.write(bytes(1 << 20))
        signal.pause()
        """,
        "crash",
        ("OSError", "was killed: /dev/shm has grown"),
    ),
    "a flood of output": (
        """
        import os
        for _ in range(300):
            os.write(1, b"x" * 999_999 + b"\\n")
        """,
        "ok",
        "",
    ),
    "a loop that no signal ends": (
        """
        import signal
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        while True:
            pass
        """,
        "timeout",
        "time limit",
    ),
    "files without end": ("import os\nfds = [os.dup(0) for _ in range(100_000)]", "crash", "Too many open files"),
    "a folder without end": (
        """
        import os
        for number in range(100_000):
            os.mkdir("d"); os.chdir("d")
            if number == 3000:
                break
        """,
        ("ok", "crash"),
        ("", "cannot be measured"),
    ),
    "killing the warm process": (
        """
        import os, signal
        try:
            os.kill(os.getppid(), signal.SIGKILL)
        except PermissionError:
            pass
        """,
        "ok",
        "",
    ),
    "a process that stays": (
        """
        import os, signal
        ready, tell = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in (1, 2, 15):
                    signal.signal(number, signal.SIG_IGN)
                os.write(tell, b"x")
                while True:
                    signal.pause()
            os._exit(0)
        os.read(ready, 1)
        """,
        "ok",
        "",
    ),
}
"""Code, the outcome's status, and what its error says (one of these, of each)."""
