// Command guestinit is process 1 of the lab's Debian guest.
package main

func main() {}
