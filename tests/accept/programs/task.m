// Starts a program by Foundation, whose own calls hooks may not reach, and says how it ended.
#import <Foundation/Foundation.h>

int main(int argc, char **argv) {
    @autoreleasepool {
        NSTask *task = [[NSTask alloc] init];
        task.executableURL = [NSURL fileURLWithPath:@(argc > 1 ? argv[1] : "/usr/bin/true")];
        task.arguments = @[ @"--version" ];
        NSError *error = nil;
        if (![task launchAndReturnError:&error]) {
            printf("it was not started: %s\n", error.localizedDescription.UTF8String);
            return 1;
        }
        [task waitUntilExit];
        printf("%s %d\n", task.terminationReason == NSTaskTerminationReasonExit ? "it ended with status" : "it was killed by signal", task.terminationStatus);
    }
    return 0;
}
