// Every kind of fixup: pointers to functions and data of its own (rebased), to those of the system (bound), with addends, and a weak import that is missing.
#include "darwin.h"

extern int not_there(void) __attribute__((weak_import));
extern void *stdoutp __asm("___stdoutp");

static int numbers[4] = {10, 11, 12, 13};
static int twice(int x) { return x * 2; }

static int (*volatile own_function)(int) = twice;
static int *volatile own_data = &numbers[2];
static size_t (*volatile bound_function)(const char *) = strlen;
static void **volatile bound_data = &stdoutp;
static char *volatile with_addend = (char *)&stdoutp + 8;
static int (*volatile missing)(void) = not_there;
static const char *volatile texts[] = {"one", "two", "three"};

int main(void) {
    int good = own_function(21) == 42 && *own_data == 12 && bound_function("four") == 4 && *bound_data != NULL && with_addend == (char *)bound_data + 8 &&
               missing == NULL && strcmp(texts[2], "three") == 0 && not_there == NULL;
    printf("%s\n", good ? "good" : "bad");
    return !good;
}
