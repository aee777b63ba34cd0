// Counts the windows of a process and its items in the menu bar, as two numbers. Owner, layer and size of a window are told to everybody, unlike its title.
#include <CoreGraphics/CoreGraphics.h>
#include <stdio.h>
#include <stdlib.h>

static int number(CFDictionaryRef window, CFStringRef key) {
    int value = -1;
    CFNumberRef n = CFDictionaryGetValue(window, key);
    if (n != NULL) CFNumberGetValue(n, kCFNumberIntType, &value);
    return value;
}

int main(int argc, char **argv) {
    int process = argc > 1 ? atoi(argv[1]) : 0, windows = 0, items = 0;
    CFArrayRef all = CGWindowListCopyWindowInfo(kCGWindowListOptionAll, kCGNullWindowID);
    if (all == NULL) return 2; // there is no screen
    for (CFIndex i = 0; i < CFArrayGetCount(all); i++) {
        CFDictionaryRef window = CFArrayGetValueAtIndex(all, i), bounds = CFDictionaryGetValue(window, kCGWindowBounds);
        CGRect frame = CGRectNull;
        if (number(window, kCGWindowOwnerPID) != process || bounds == NULL || !CGRectMakeWithDictionaryRepresentation(bounds, &frame)) continue;
        int layer = number(window, kCGWindowLayer);
        if (layer == CGWindowLevelForKey(kCGStatusWindowLevelKey)) items++;
        if (layer == CGWindowLevelForKey(kCGNormalWindowLevelKey) && frame.size.width > 400) windows++; // and none that a toolkit keeps for itself
    }
    printf("%d %d\n", windows, items);
    return 0;
}
