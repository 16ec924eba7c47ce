package health

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// commLength is how many bytes of its name the kernel keeps of a command.
const commLength = 15

// maxPIDFile is more than any pid file has to say before its number ends.
const maxPIDFile = 4096

// readPID reads the number at the beginning of a pid file; 0: there is none, and why.
func readPID(path string) (pid int, why string) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err.Error()
	}
	defer f.Close()
	buf := make([]byte, maxPIDFile)
	n, _ := f.Read(buf)
	fields := bytes.Fields(buf[:n])
	if len(fields) == 0 {
		return 0, path + " is empty"
	}
	pid, err = strconv.Atoi(string(fields[0]))
	if err != nil || pid <= 0 || pid > math.MaxInt32 {
		return 0, path + " does not begin with the number of a process"
	}
	return pid, ""
}

// Hidden reports that this process does not see those of others (hidepid of /proc,
// ProtectProc= of systemd): a process that is known by name is never found then.
func Hidden() bool {
	_, ok := readStat(1)
	return !ok
}

// oldest is the number of the process of that name that has run for longest; 0: none
// runs. Processes of containers are not meant.
func oldest(name string) int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	best, began := 0, uint64(math.MaxUint64)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if s, ok := readStat(pid); ok && s.start < began && s.alive() && matches(pid, s.comm, name) && ours(pid) {
			best, began = pid, s.start
		}
	}
	return best
}

// named reports whether the process lives and has that name.
func named(pid int, name string) bool {
	s, ok := readStat(pid)
	return ok && s.alive() && matches(pid, s.comm, name)
}

// matches compares a process with a name: that of its command, of which the kernel
// keeps the beginning, or the path of its program.
func matches(pid int, comm, name string) bool {
	if strings.HasPrefix(name, "/") {
		exe, err := os.Readlink(procPath(pid, "exe"))
		return err == nil && strings.TrimSuffix(exe, " (deleted)") == name
	}
	if len(name) <= commLength {
		return comm == name
	}
	if comm != name[:commLength] {
		return false
	}
	line, err := os.ReadFile(procPath(pid, "cmdline"))
	if err != nil {
		return false
	}
	for _, arg := range bytes.SplitN(line, []byte{0}, 3) { // a script comes after its interpreter
		if filepath.Base(string(arg)) == name {
			return true
		}
	}
	return false
}

// ours reports that a process is not one of a container. Who may not know (another
// user's process, without root) believes that.
func ours(pid int) bool {
	theirs, err := os.Readlink(procPath(pid, "ns/pid"))
	if err != nil {
		return true
	}
	own, err := os.Readlink("/proc/self/ns/pid")
	return err != nil || own == theirs
}

// stat is what /proc/PID/stat says (proc_pid_stat(5)).
type stat struct {
	comm  string
	state byte
	start uint64 // clock ticks after boot
}

func (s *stat) alive() bool { return s.state != 'Z' && s.state != 'X' }

func readStat(pid int) (stat, bool) {
	b, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return stat{}, false
	}
	return parseStat(string(b))
}

// parseStat accepts any content.
func parseStat(text string) (s stat, ok bool) {
	from, to := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if from < 0 || to < from {
		return stat{}, false
	}
	fields := strings.Fields(text[to+1:])
	if len(fields) < 20 || len(fields[0]) != 1 {
		return stat{}, false
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return stat{comm: text[from+1 : to], state: fields[0][0], start: start}, err == nil
}

func procPath(pid int, file string) string { return "/proc/" + strconv.Itoa(pid) + "/" + file }
