# Only names commands; the programs it calls hold what there is to know. Prerequisites: Go, make, a C compiler and bash.
SHELL = bash
CC ?= cc

# The hooks get NULL where libc's headers say "nonnull", so the compiler must not take it for impossible.
LAYER_FLAGS = -std=gnu17 -O2 -fPIC -ftls-model=initial-exec -shared -fvisibility=hidden -fno-delete-null-pointer-checks -Wall -Wextra -Werror -Wno-nonnull-compare \
	-Wl,-z,now,-z,relro,-z,noexecstack,-s
# It brings what the compiler may call, so no pattern may be taken for that.
HELPER_FLAGS = -std=gnu17 -Os -ffreestanding -static -nostdlib -nostartfiles -fno-stack-protector -fno-tree-loop-distribute-patterns \
	-fno-asynchronous-unwind-tables -fno-pie -no-pie -Wall -Wextra -Werror -Wl,-z,noexecstack,-s
# Own headers and stubs in place of Apple's, so that every machine builds the same bytes. macOS 12 is what Go needs; a library for it has chained fixups.
# No exception passes the layer and Apple's debuggers follow frame pointers, so tables for unwinding would only be read from disk.
DARWIN_FLAGS = -std=gnu17 -Os -nostdlibinc -isystem layer/include -DMIRRORD_LAYER -fvisibility=hidden -fno-stack-protector -fno-delete-null-pointer-checks \
	-fno-unwind-tables -fno-asynchronous-unwind-tables \
	-Wall -Wextra -Werror -dynamiclib -nostdlib -Wl,-install_name,@rpath/libmirrord.dylib,-fixup_chains,-x,-no_data_const
LINUX_LAYER = libmirrord.so libmirrord-supervise.so
# A Linux has a compiler for its own machine, and may have one for the other.
OWN := $(if $(filter Linux,$(shell uname -s)),$(patsubst x86_64,amd64,$(patsubst aarch64,arm64,$(shell uname -m))))
OTHER := $(filter-out $(OWN),amd64 arm64)
CC_amd64 ?= $(if $(filter amd64,$(OWN)),$(CC),x86_64-linux-gnu-gcc)
CC_arm64 ?= $(if $(filter arm64,$(OWN)),$(CC),aarch64-linux-gnu-gcc)
LDFLAGS = -s -w $(if $(VERSION),-X mirrord/launcher/cmd.Version=$(VERSION))
FUZZTIME ?= 20s
HOOKS ?= 24

.PHONY: build layer mac accept-mac demo test test-darwin test-hooks vet fmt bench soak fuzz clean

build: layer # bin/mirrord
	CGO_ENABLED=0 go build -ldflags '$(LDFLAGS)' -o bin/mirrord ./launcher

# The window, beside the command that it runs. The first time takes minutes: the toolkit's C. One set of flags, so that this happens once.
.PHONY: app test-app
app: build
ifeq ($(shell uname -s),Linux)
	tests/need pkg-config pkg:gl pkg:x11 pkg:xcursor pkg:xrandr pkg:xinerama pkg:xi pkg:xxf86vm pkg:xkbcommon pkg:wayland-client
endif
	go build -tags desktop -ldflags '-s -w$(if $(VERSION), -X main.version=$(VERSION))' -o bin/mirrord-app ./app

test-app: app # a real window on a screen that nobody sees, driven by keys; pictures in bin/app
	tests/app/run

# Paths and revisions are left out, so that the same source gives the same bytes anywhere.
.PHONY: agent-image
agent-image: # bin/image: the agent for amd64 and arm64, as an OCI layout and a tar of it
	for arch in amd64 arm64; do \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags '-s -w' -o bin/agent/$$arch ./agent || exit; \
	done
	cd packaging/image && go run . -o ../../bin/image -ref mirrord-agent:$(or $(VERSION),dev) amd64=../../bin/agent/amd64 arm64=../../bin/agent/arm64

.PHONY: test-images test-cluster
test-images: # bin/image-test, bin/image-test-user: the program of the pods in tests/cluster
	for arch in amd64 arm64; do \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags '-s -w' -o bin/podapp/$$arch ./tests/cluster/podapp || exit; \
	done
	cd packaging/image && go run . -o ../../bin/image-test -ref mirrord-test:dev amd64=../../bin/podapp/amd64 arm64=../../bin/podapp/arm64
	cd packaging/image && go run . -o ../../bin/image-test-user -ref mirrord-test-user:dev -user 4321:4321 amd64=../../bin/podapp/amd64 arm64=../../bin/podapp/arm64

test-cluster: build agent-image test-images # against the cluster of KUBECONFIG, whose nodes must have the images (MIRRORD_TEST_LOAD loads one)
	tests/cluster/run

ifeq ($(shell uname -s),Darwin)
DARWIN_CC ?= cc
layer: layer/lib/libmirrord.dylib
else
DARWIN_CC ?= clang-19 -fuse-ld=lld
ifneq ($(shell command -v clang-19 > /dev/null && command -v ld64.lld-19),)
layer: layer/lib/libmirrord.dylib
else
layer: no-dylib
endif
ifeq ($(shell $(CC_$(OTHER)) -include stdio.h -E -x c /dev/null > /dev/null 2>&1 && echo yes),yes) # a compiler, and a libc to build with
layer: $(LINUX_LAYER:%=layer/lib/amd64/%) $(LINUX_LAYER:%=layer/lib/arm64/%)
else
layer: $(LINUX_LAYER:%=layer/lib/$(OWN)/%) no-$(OTHER)
endif
endif
.PHONY: no-dylib no-amd64 no-arm64
no-dylib:
	@echo 'layer: the library for macOS is left out (tests/need clang-19 ld64.lld-19 installs what it takes)'
no-amd64 no-arm64:
	@echo 'layer: the library for Linux on $(@:no-%=%) is left out (tests/need $(CC_$(OTHER)) installs what it takes)'
layer/lib/%/libmirrord.so: $(wildcard layer/src/*) Makefile
	mkdir -p $(@D)
	$(CC_$*) $(LAYER_FLAGS) -o $@.new layer/src/layer.c
	mv $@.new $@
layer/lib/%/libmirrord-supervise.so: layer/helper/supervise.c layer/src/frame.h layer/src/sys.h Makefile # a program, beside the library as its variants are
	mkdir -p $(@D)
	$(CC_$*) $(HELPER_FLAGS) -o $@.new layer/helper/supervise.c
	mv $@.new $@
layer/lib/libmirrord.dylib: $(wildcard layer/src/* layer/include/* layer/include/*/* packaging/universal/*.go codesign/*.go codesign/macho/*.go) layer/libSystem.tbd Makefile # and libmirrord-arm64e.dylib
	for arch in x86_64 arm64; do $(DARWIN_CC) -target $$arch-apple-macos12.0 $(DARWIN_FLAGS) -o layer/lib/$$arch.slice layer/src/layer.c layer/libSystem.tbd || exit; done
	go run ./packaging/universal -arm64e -identifier libmirrord-arm64e -o layer/lib/libmirrord-arm64e.dylib layer/lib/x86_64.slice layer/lib/arm64.slice
	go run ./packaging/universal -identifier libmirrord -o $@ layer/lib/x86_64.slice layer/lib/arm64.slice
	rm layer/lib/*.slice

.PHONY: linux
linux: $(LINUX_LAYER:%=layer/lib/amd64/%) $(LINUX_LAYER:%=layer/lib/arm64/%) # bin/linux/mirrord-amd64 and -arm64, each with its own layer
	for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -ldflags '$(LDFLAGS)' -o bin/linux/mirrord-$$arch ./launcher || exit; \
	done

# Without names of folders the same sources give the same bytes everywhere.
mac: layer/lib/libmirrord.dylib # bin/darwin/mirrord, for Apple silicon and Intel, on any system
	mkdir -p bin/darwin
	for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=darwin GOARCH=$$arch go build -trimpath -ldflags '$(LDFLAGS)' -o bin/darwin/mirrord-$$arch ./launcher || exit; \
	done
	go run ./packaging/universal -identifier mirrord -o bin/darwin/mirrord bin/darwin/mirrord-amd64 bin/darwin/mirrord-arm64
	rm bin/darwin/mirrord-amd64 bin/darwin/mirrord-arm64

accept-mac: build # on a Mac: what only one can tell, in five minutes, with a report in bin/accept-mac.md
	tests/accept/mac

demo: build # one program, plainly and inside a pod
	@command -v npm > /dev/null || command -v python3 > /dev/null || tests/need python3
	tests/demo/run

test: build vet # everything that can be tested on this machine
	@tests/need curl python3 node npm setpriv find groff zsh fish dash tcsh ksh shellcheck git rsync sqlite3 perl ruby php javac less dig host nginx gunicorn redis-server redis-cli \
		ssh-add strace busybox qemu-aarch64 qemu-aarch64-static aarch64-linux-gnu-gcc npm:pnpm@9.15.9 npm:yarn@1.22.22 python3:dns python3:aiodns python3:uvloop \
		python3:debugpy puma psql initdb vim kubectl openssl rustc bwrap go:github.com/go-delve/delve/cmd/dlv@v1.26.0
	@tests/arm64 bash busybox coreutils dash diffutils findutils grep python3 sed tar
	tests/judges tests/statics go run ./tests/all -race -timeout 20m ./...
	cd packaging/image && go vet . && go test .

test-darwin: # what reads and writes programs for macOS, judged by programs of others; make test has it too
	MIRRORD_JUDGES=required tests/judges go run ./tests/all -race -timeout 20m ./codesign/... ./sip/...

test-hooks: layer # each hook of the library for macOS is missed when it is disabled: all of x86_64, a sample of HOOKS of arm64
	@tests/need clang-19 ld64.lld-19 qemu-aarch64 aarch64-linux-gnu-gcc
	cd tests/darwin && MIRRORD_HOOKS=1000 go test -count=1 -run TestHook/x86_64
	cd tests/darwin && MIRRORD_HOOKS=$(HOOKS) go test -count=1 -run TestHook/arm64

vet:
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "make fmt is needed for" $$files; exit 1; }
	go vet ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go vet -tags ci ./... # the toolkit without its C
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go vet ./...

fmt:
	gofmt -w .

bench: app # writes tests/bench/RESULTS.md
	tests/bench/run

.PHONY: bench-image bench-cluster
bench-image: # bin/image-bench: the program of the pods in tests/bench/cluster.go
	for arch in amd64 arm64; do \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags '-s -w' -o bin/bench/$$arch ./tests/bench || exit; \
	done
	cd packaging/image && go run . -o ../../bin/image-bench -ref mirrord-bench:dev amd64=../../bin/bench/amd64 arm64=../../bin/bench/arm64

bench-cluster: build agent-image bench-image # against the cluster of KUBECONFIG, whose nodes must have the images (MIRRORD_TEST_LOAD loads one)
	tests/bench/cluster

soak: build # the long counts; hours
	tests/soak/run

fuzz: # every fuzz target, FUZZTIME each
	FUZZTIME='$(FUZZTIME)' tests/fuzz/run

clean:
	rm -rf bin layer/lib/amd64 layer/lib/arm64 layer/lib/*.dylib layer/lib/*.slice layer/lib/*.new
