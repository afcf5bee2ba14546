// Package redis is the keeper's engine for Redis or Valkey, and, where neither is
// installed, for a Redis inside this process that forgets everything at exit.
package redis
