// Package grouplock lets the vrrpd processes of one machine share one fate.
//
// The classic use is one process per interface, started with -M 2. They meet
// in the run directory and see each other's facts in memory; nobody sends
// messages, nobody polls, and there is no daemon of daemons. Group implements
// election.Board over files that are mapped into memory.
//
// # The files
//
// Every process, with or without -M, owns one file INSTANCE.member. Two locks
// lie on it for the life of the process:
//
//   - an exclusive flock: the proof of life. It is what makes a second instance
//     refuse, and what a survivor takes in order to clean up after a dead one;
//   - an open-file-description write lock on byte 0: the same statement in a
//     form that can be asked (F_OFD_GETLK) without being taken. A flock can only
//     be tested by taking it, and a tester in the wrong microsecond makes a
//     restarting owner refuse, or a cleaner believe that another one cleans.
//
// Hence: byte 0 locked means that the owner lives; flock taken and byte 0 free
// means that somebody cleans up, or that the owner is just starting or dying.
//
// The content is the process's record: who it is, what a survivor needs to clean
// up after it (Identity), and its election.Facts. GROUP.group holds what all
// share: the word {epoch, state}, the operator's wishes, and per slot the time
// of the last two words that the slot's process made, so that Board.Since is
// exact even when the author of the word is dead.
//
// Both are arrays of 64-bit words in host byte order, read and written with
// atomic loads and stores only. A block of several words (Facts, Identity) is
// kept twice with a sequence number whose lowest bit names the valid copy: the
// writer changes the other copy and then the number. A process that is stopped
// or killed in the middle of a change therefore never hides its last complete
// facts, which a plain sequence lock would.
//
// # How a death is noticed
//
// The kernel closes the files of a dying process and reports IN_CLOSE_WRITE just
// before it drops the locks. Run looks at byte 0 then, and, if it is still
// locked, again after 50 us, 100 us and so on, doubling, for 1.6 s.
//
// Measured on Linux 6.18 with two busy cores, SIGKILL of a process with ten
// threads that holds an inotify descriptor and two packet sockets besides its
// lock, p50 of 100:
//
//	                        lock has a low fd    lock has the highest fd
//	IN_CLOSE_WRITE               29.5 ms                0.58 ms
//	byte 0 free                  +5 us                  +2 us
//	flock free                   +3 us                  +2 us
//	pidfd readable               29.6 ms                  28 ms
//
// Files are released in descending order of their numbers, and inotify and
// packet sockets wait for RCU when they are. So the lock is moved to a high
// number (raise), and there are no pidfds: they speak after all files are gone,
// and say nothing about a member in another pid namespace. Byte 0 was still
// locked at the first look 3 times in 300. A death that slipped through all of it
// is still seen by the heartbeat in the facts.
//
// # What a damaged file can do
//
// Whatever is read is checked: type, owner, mode, size, magic, version, lengths,
// names. What fails is ignored and counted, or is a clear error where the
// user's own instance is meant.
//
// A mapped file that somebody truncates raises SIGBUS at the next access. The
// rules against it: the directory and the files must belong to us and be
// writable by nobody else, so that only we or root could do it; the blocks are
// allocated in advance, because a full tmpfs raises SIGBUS too; no file ever
// shrinks, not even when a new version of the program reuses it. For the rest,
// reads of another process's record turn the signal into "this record is
// damaged" (debug.SetPanicOnFault, good for the goroutine that sets it and only
// for accesses from Go code). A process whose own record or group file has been
// cut dies of the signal: it could not obey the word any more, its locks go, and
// a survivor cleans up with the identities that it copied earlier. SetPanicOnFault
// there would only leave a process that goes on without a group.
//
// # What the package must never do
//
// Block the loop: every method of election.Board is memory, except that Ring
// (and thereby a Swap or Wish that succeeds) writes one byte to a file when there
// is somebody to wake. Keep the run directory on a tmpfs, as /run is: on a disk,
// a store into a page that is being written back may wait for the disk.
package grouplock
