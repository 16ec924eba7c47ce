// Package reexec puts another program in the place of this one: same process, same
// number, and whatever is open stays open (execve). It finds the program, tries it
// before anything is given up, hands it a State, and on the other side receives that.
//
// What a State means is the business of whoever puts it together; here it is a few words
// about the program, numbers of descriptors, and parts that are somebody else's text.
//
// The State lies in a file in memory (memfd), which has no name and no other reader; the
// number of its descriptor is in the environment. Descriptors are close-on-exec up to the
// last moment, in which no program can be started, and again from the first moment of
// the next program on; and that takes the variable out of its environment. So a command
// of the user never has any of them.
//
// It must never begin what it cannot take back before execve has succeeded.
package reexec
