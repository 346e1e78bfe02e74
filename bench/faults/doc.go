// Command faults does to a real server what goes wrong in earnest, and holds what the server says afterwards against
// what its clients were told: nothing that was acknowledged is lost, and nothing is counted twice.
//
//	faults kill      SIGKILL under 64 writers, again and again
//	faults replies   a proxy that sends requests twice and drops replies
//	faults full      a disk that fills up (needs root, to mount a small one)
//	faults overload  ten times the load it can bear, slow and idle connections
//	faults soak      half of the load it can bear, for long, with its memory watched
//
// Everything stays on the loopback interface and in a temporary folder, and what it starts it stops. It exits with 1 when
// something was not as it should be. RELIABILITY.md, beside this folder, says what was reached.
package main
