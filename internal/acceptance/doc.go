// Package acceptance holds no code, only tests: the built programs, vrrpd and
// atropos, on the two routers of the manual, in the network laboratory
// (internal/netlab). What the project promises its users is shown here line by
// line, from the outside: what a neighbour on the LAN, the kernel and the
// service manager see, never what a room of ours believes.
//
// A test is named after the point of the promise that it shows
// (TestPoint4_...). Nothing here imports the daemon; where a test needs a packet
// it writes the bytes itself.
//
// # Waiting and measuring
//
// No test sleeps. It waits for an event (a link, an address, a frame, a line of
// a log) with a deadline that is generous, because the machine may be busy with
// something else. What has to be fast is measured by the times that the kernel
// gave to frames and by the record of link events, several times over, and the
// median counts: one stall of the machine is not a fault of the program. The
// figures are logged (go test -v).
//
// The tests wait nearly all of their time, and so most of them stand side by side
// (t.Parallel). Not those whose promise is about milliseconds, because all network
// namespaces of a machine share the kernel's one lock for changes: they come first,
// in TestSwift and TestSwiftAtOneSecond, where they wait side by side and are measured
// one after the other (quietly). What speaks every 10 ms has the machine for itself.
// What a test does at 1 s adverts is parallel even then, as far as it judges who serves
// and not how soon.
package acceptance
