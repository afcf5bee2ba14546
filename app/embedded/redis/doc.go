// Package redis is the keeper's engine for Redis or Valkey. If neither is installed, it can
// run a Redis inside this process, which loses its data when this process ends.
package redis
