# Types, modes, sizes, links and contents of all but what git keeps times in.
cd "$1"
find . -name .git -prune -o -printf '%y %m %n %p %l\n' | sed -E 's/^(d [0-7]+) [0-9]+/\1/' | sort
find . -name .git -prune -o -type f ! -name 'db*' -print0 | sort -z | xargs -0 sha256sum
