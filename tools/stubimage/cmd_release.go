package main

import "context"
import "errors"

var errDiffers = errors.New("builds differ")

func runReport(ctx context.Context, env *env, args []string) error  { return errors.New("todo") }
func runRepro(ctx context.Context, env *env, args []string) error   { return errors.New("todo") }
func runRelease(ctx context.Context, env *env, args []string) error { return errors.New("todo") }
func runInstall(ctx context.Context, env *env, args []string) error { return errors.New("todo") }
