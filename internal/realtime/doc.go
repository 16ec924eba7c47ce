// Package realtime is about being in time: how a loop waits for everything that concerns it
// at the least cost (Bell); how a thread of this process runs before everybody else's
// (SCHED_RR); and how memory is kept from being paged out. The last two are what an
// administrator has asked for, so what cannot be had is an error that says what to do.
//
// Only a thread that waits in the kernel by itself profits. A goroutine that waits by
// means of the runtime (a channel, a timer, the poller) is woken by some other thread of
// the runtime, which has an ordinary priority; so real-time threads wait in the kernel. They
// also must not need a processor of the runtime's that a thread with an ordinary priority
// holds: there are some to spare (Threads).
//
// What a thread with an ordinary priority still delays is the collector's stopping of the
// world, a mutex that it holds while it is not running, and a thread that the runtime has
// preempted. So the others have nice -20.
//
// It must never make real-time what a user of this machine can ask for or what the user's
// commands do: nothing that such a thread starts is real-time, neither threads nor
// processes (SCHED_FLAG_RESET_ON_FORK).
package realtime
