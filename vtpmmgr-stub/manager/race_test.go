//go:build race

package manager

const raceDetector = true
