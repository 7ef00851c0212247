//go:build cgo && (linux || darwin)

package runtime

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

/*
#cgo linux LDFLAGS: -ldl
#cgo darwin LDFLAGS: -Wl,-undefined,dynamic_lookup

#include <dlfcn.h>
#include "ort_calls.h"

// The one struct of ONNX Runtime's ABI that is looked into: its entry point.
typedef struct {
	const void *const *(*api)(uint32_t version);
	const char *(*version)(void);
} ort_entry;

// dnnsplit_version loads the library at path and says its version. On failure
// it returns NULL, and why holds the reason, NULL if the library is not ONNX Runtime.
// The handle stays open: the library is never unloaded, its threads may live on.
static const char *dnnsplit_version(char *path, const ort_entry **found, const char **why) {
	*why = NULL;
	void *lib = dlopen(path, RTLD_LAZY);
	if (!lib) { *why = dlerror(); return NULL; }
	const ort_entry *(*entry)(void) = (const ort_entry *(*)(void))dlsym(lib, "OrtGetApiBase");
	if (!entry) { dlclose(lib); return NULL; }
	const ort_entry *e = entry();
	if (!e) { dlclose(lib); return NULL; }
	*found = e;
	return e->version();
}

static const void *const *dnnsplit_api(const ort_entry *e, uint32_t version) { return e->api(version); }
*/
import "C"

// apiVersion is the version of ONNX Runtime's C API that onnxruntime_go is made
// for; ONNX Runtime 1.N serves the API versions up to N.
const apiVersion = 24

// process is ONNX Runtime's state in this process. onnxruntime_go keeps the
// library and its environment in package variables of its own and ONNX Runtime
// allows one environment a process, so that this much global state is forced;
// it is set once and never changed or freed after that.
var process struct {
	sync.Mutex
	engine  *ortEngine
	library string // as resolved
}

// ortEngine is a loaded library; it does not change.
type ortEngine struct {
	version string
	env     *C.OrtEnv
	api     *unsafe.Pointer // ONNX Runtime's table of calls, of version apiVersion
}

// OpenORT loads ONNX Runtime from library, a file or the folder that holds it.
// With "" it looks at $ONNXRUNTIME_LIB, at the folder .ort in the working
// directory, beside the go.mod above it and beside the program, and at what
// the system knows. Errors say what was tried; where no library was named and
// none found they wrap ErrNoLibrary. A process can use one library: later calls
// return it, and fail if they name another one.
func OpenORT(library string) (Engine, error) {
	process.Lock()
	defer process.Unlock()
	if process.engine != nil && library == "" {
		return process.engine, nil
	}
	try, looked, err := findLibrary(library)
	if err != nil {
		return nil, err
	}
	if process.engine != nil {
		for _, path := range try {
			if resolve(path) == process.library {
				return process.engine, nil
			}
		}
		return nil, &diag.Error{File: library, Msg: "another ONNX Runtime is in use already, " + process.library + ", and a process can have one only"}
	}
	var failed []string
	for _, path := range try {
		e, err := probe(path)
		if err == nil {
			err = e.start(path)
		}
		if err == nil {
			return e, nil
		}
		if len(try) == 1 {
			return nil, err
		}
		failed = append(failed, err.Error())
	}
	return nil, notFound(looked, failed)
}

// probe loads the library at path, checks its version and finds its calls. It looks before
// onnxruntime_go does because ONNX Runtime writes to stderr when it is asked for
// an API that it does not have.
func probe(path string) (*ortEngine, error) {
	cPath := C.CString(path)
	defer C.free(ptr(cPath))
	var why *C.char
	var entry *C.ort_entry
	v := C.dnnsplit_version(cPath, &entry, &why)
	if v == nil {
		if why != nil {
			return nil, fmt.Errorf("%s cannot be loaded: %s", path, strings.TrimPrefix(C.GoString(why), path+": "))
		}
		return nil, fmt.Errorf("%s is not ONNX Runtime: it has no OrtGetApiBase", path)
	}
	version := C.GoString(v)
	if n, ok := minor(version); !ok || n < apiVersion {
		return nil, fmt.Errorf("%s is ONNX Runtime %s, which is too old: 1.%d or newer is needed", path, version, apiVersion)
	}
	api := C.dnnsplit_api(entry, apiVersion)
	if api == nil {
		return nil, fmt.Errorf("%s is ONNX Runtime %s, but does not offer version %d of its interface", path, version, apiVersion)
	}
	return &ortEngine{version: version, api: api}, nil
}

// minor is N of version 1.N.P; a later major version counts as new enough.
func minor(version string) (int, bool) {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return 0, false
	}
	if major, err := strconv.Atoi(parts[0]); err != nil || major != 1 {
		return apiVersion, err == nil && major > 1
	}
	n, err := strconv.Atoi(parts[1])
	return n, err == nil
}

// start makes the library at path the one of this process. The caller holds the lock.
func (e *ortEngine) start(path string) error {
	if missing := C.dnnsplit_missing_call(); missing != nil {
		return fmt.Errorf("this program was built with another onnxruntime_go: its call %s is missing", C.GoString(missing))
	}
	if !ort.IsInitialized() {
		ort.SetSharedLibraryPath(path)
		if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
			return fmt.Errorf("%s: ONNX Runtime does not start: %w", path, err)
		}
		if err := ort.DisableTelemetry(); err != nil {
			return fmt.Errorf("%s: ONNX Runtime's telemetry cannot be switched off: %w", path, err)
		}
	}
	name := C.CString("dnnsplit")
	defer C.free(ptr(name))
	if err := status(C.CreateOrtEnv(name, &e.env)); err != nil {
		return fmt.Errorf("%s: ONNX Runtime does not start: %w", path, err)
	}
	process.engine, process.library = e, resolve(path)
	return nil
}

func (e *ortEngine) Name() string { return "ONNX Runtime " + e.version }

// Check knows nothing against any model: loading tells.
func (e *ortEngine) Check(Model) error { return nil }

// status turns an OrtStatus into an error and frees it.
func status(s *C.OrtStatus) error {
	if s == nil {
		return nil
	}
	msg := C.GoString(C.GetErrorMessage(s))
	C.ReleaseOrtStatus(s)
	return errors.New(tidy(msg))
}
