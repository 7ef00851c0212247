//go:build !unix

package onnxfile

import "errors"

func mkfifo(string) error { return errors.ErrUnsupported }
