# Works in sh of busybox, too.
cd "$1"
exec 2>&1
umask 022
echo new > new
echo more >> new
cat new
(set -C; echo again > new) || echo refused
stat -c '%n %s %a' new
mkdir -p a/b/c
touch a/b/c/t
ls -R a
cp new copy
mv copy moved
mv moved a/
ls a
ln -s new link
ln new hard
stat -c '%n %h' new hard
readlink link
chmod 600 new
chmod u+s,g-r new
touch -d '2020-01-01 00:00:00' new
stat -c '%n %a %y' new
sed -i s/new/edited/ new
cat new hard
truncate -s 3 hard
cat hard
cp new ../../out.$$
mv ../../out.$$ back
cat back
mv back ../../out.$$
cat ../../out.$$
rm ../../out.$$
if test -z "$WITHOUT_FIFO"; then
	mkfifo fifo
	stat -c %F fifo
	rm fifo
fi
rm -r a
rm link
umask 077
echo private > private
mkdir private-folder
mkdir private-folder > /dev/null || echo exists
stat -c '%n %a' private private-folder
test -w private && echo writable
rmdir nothing > /dev/null || echo nothing
rm -f nothing
mktemp -p . XXXXXX | wc -c
mktemp -d -p . d.XXXXXX | wc -c
rm -r ./d.* ./??????
mkdir tree
echo one > tree/one
ln -s one tree/two
chmod 640 tree/one
tar cf tree.tar tree
mkdir out
tar xf tree.tar -C out
ls -l out/tree | cut -c1-10
rm tree.tar
echo x > "$(printf 'line\nbreak')"
echo y > "$(printf 'bytes\377\376')"
dd if=/dev/zero of=big bs=1024 count=3000 2> /dev/null
dd if=/dev/zero of=big bs=1024 seek=10 count=1 conv=notrunc,fsync 2> /dev/null
stat -c %s big
cat new > big
ls
