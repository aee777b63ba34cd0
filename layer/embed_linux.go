package layer

// fileName is the library as the dynamic linker of this system wants it named; lib has the one for the machine that this is built for.
const fileName = "libmirrord.so"

// variants: one library serves every program, and one program stands in front of those that no library helps in.
var variants = []string{Supervise}
