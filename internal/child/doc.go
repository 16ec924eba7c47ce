// Package child runs one program of the user's: the commands of package hooks and
// the checks of package health.
//
// A program gets no arguments but its own; /dev/null as stdin; / as working
// directory; a process group of its own; signals as a fresh program expects them; no
// descriptor of the daemon; the user that is asked for. A script without #! is given
// to /bin/sh, as execvp(3) does. Its output arrives line by line, bounded in length
// and number. When its time is over the whole group is killed, and the daemon never
// waits for what it has left behind.
//
// It decides nothing: what a result means is the caller's business.
package child
