cd "$1"
mkdir -p from/deep
echo one > from/one
echo two > from/deep/two
ln -s one from/link
chmod 640 from/one
touch -d 2020-01-01 from/one from/deep/two
rsync -a from/ to/
rsync -ai from/ to/
chmod 600 from/one
rsync -ai from/ to/
rsync -a from/ "$2/here$$/"
rsync -a "$2/here$$/" back/
rsync -ac --delete -i from/ back/
rm from/one
rsync -ai --delete --omit-dir-times from/ to/
