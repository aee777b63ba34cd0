cd "$1"
echo not yet > edited
vim -es -u NONE -N '+%s/not yet/edited/' +wq edited
