import errno, os, shutil, subprocess, sys, tempfile
os.chdir(sys.argv[1])
def tried(what, *args):
    try:
        print(what.__name__, what(*args))
    except OSError as e:
        print(what.__name__, errno.errorcode[e.errno])
with tempfile.NamedTemporaryFile(dir=".") as f:
    f.write(b"temporary")
    f.flush()
    print(os.path.getsize(f.name), os.fstat(f.fileno()).st_size)
with tempfile.TemporaryDirectory(dir=".") as d:
    open(d + "/x", "w").close()
    print(os.listdir(d))
with tempfile.TemporaryFile(dir=".") as f:
    f.write(b"nameless")
    f.seek(4)
    print(f.read())
with open("target.tmp", "w") as f:
    f.write("replaced")
    os.fsync(f.fileno())
os.replace("target.tmp", "target")
reader = open("target")
with open("target", "a") as f:
    f.write(" and appended")
print(open("target").read(), "|", reader.read())
with open("both", "w+b") as f:
    f.write(b"0123456789")
    f.seek(3)
    print(f.read(3), f.truncate(5), f.seek(0, 2))
    os.fchmod(f.fileno(), 0o604)
    os.utime(f.fileno(), (1, 2))
    print(oct(os.fstat(f.fileno()).st_mode), os.stat("both").st_mtime)
tried(os.mkdir, "d")
tried(os.mkdir, "d")
tried(os.rmdir, "none")
tried(os.unlink, "d")
tried(os.rename, "both", "d")
tried(os.rename, "none", "d")
tried(os.link, "target", "both")
tried(os.symlink, "x", "d")
tried(os.open, "both", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
tried(os.open, "d", os.O_WRONLY)
tried(os.open, "target/x", os.O_CREAT | os.O_WRONLY)
tried(os.open, "x" * 256, os.O_CREAT | os.O_WRONLY)
tried(os.symlink, "x" * 4096, "long")
tried(os.symlink, "x" * 9000, "long")
tried(os.symlink, "x" * 4095, "long")
print(len(os.readlink("long")))
tried(os.truncate, "d", 0)
os.symlink("loop", "loop")
tried(os.chmod, "loop", 0o600)
tried(os.open, "loop", os.O_CREAT | os.O_WRONLY)
tried(os.chown, "both", -1, -1)
tried(os.utime, "none")
tried(os.access, "both", os.W_OK)
fd = os.open("d", os.O_RDONLY)
os.mkdir("below", dir_fd=fd)
os.rename("both", "moved", dst_dir_fd=fd)
print(sorted(os.listdir("d")), os.fsync(fd))
os.fchmod(fd, 0o711)
print(oct(os.stat("d").st_mode))
shutil.copytree("d", "e")
shutil.move("e", "f")
shutil.rmtree("d")
print(sorted(os.listdir("f")))
# What is known of a folder's entries is forgotten when one changes, whoever changes it.
os.mkdir("many")
names = [f"many/{i}" for i in range(40)]
for n in names:
    os.close(os.open(n, os.O_CREAT | os.O_WRONLY, 0o644))
def modes():
    return {oct(os.stat(n).st_mode & 0o777) for n in names}, sorted({os.stat(n).st_size for n in names})
print(modes())
for n in names:
    os.chmod(n, 0o600)
print(modes())
subprocess.run(["chmod", "640"] + names)
print(modes())
for n in names:
    with open(n, "a") as f:
        f.write("x")
print(modes())
subprocess.run(["sh", "-c", "for n in many/*; do echo y >> $n; done"])
print(modes())
for n in names[10:]:
    os.rename(n, n + ".done")
print([os.path.exists(n) for n in names].count(True), len(os.listdir("many")), os.stat("many").st_mode & 0o777)
os.makedirs(b"bytes\xff/\n")
print(os.listdir(b"bytes\xff"))
