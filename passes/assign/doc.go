// Package assign gives nodes and sub-models to processors: list scheduling, and
// the projection of its schedules onto legal sub-models.
package assign
