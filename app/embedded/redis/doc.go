// Package redis is the keeper's engine for Redis or Valkey. If neither is
// installed, it runs a Redis inside this process, which forgets everything at
// exit.
package redis
