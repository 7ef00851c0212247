// Package passes places execution graphs: it turns an ir.Problem into an
// ir.Placement, a plan with its timeline, reference results and a lower bound.
//
// A placement is a sequence of passes over one job; table.go lists them and
// what must come before what. What a plan costs is defined in package sched
// alone.
package passes
