// Says where the program believes to be.
#import <Foundation/Foundation.h>
#import <mach-o/dyld.h>

int main(int argc, char **argv) {
    @autoreleasepool {
        char path[4096];
        uint32_t size = sizeof path;
        if (_NSGetExecutablePath(path, &size) != 0) path[0] = 0;
        printf("main bundle %s; _NSGetExecutablePath %s; argv[0] %s\n", NSBundle.mainBundle.executablePath.UTF8String, path, argv[0]);
    }
    return 0;
}
