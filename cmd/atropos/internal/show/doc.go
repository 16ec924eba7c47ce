// Package show turns what vrrpd says into what a person reads. The first line
// is what one wants to know at three in the morning; what needs attention comes
// next, each with what to do; tables and history come last. It reads no clock
// and writes to nothing: times are shown in the zone of the now it is given.
package show
