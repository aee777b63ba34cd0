// Ends with 0, unless insert.c is loaded into it.
int main(void) { return 0; }
