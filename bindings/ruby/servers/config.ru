# SPDX-License-Identifier: LGPL-2.1-or-later
# An API server: each request is answered by a Redis out of the current nodes, by the next one if that fails.
require "safestart"
require "socket"

# Connections to one Redis.
class Pool
  def initialize(host, port)
    @host, @port, @idle = host, port, Queue.new
    give(connect)
  end

  def connect = TCPSocket.new(@host, @port)
  def give(connection) = @idle << connection

  def ping
    connection = begin
      @idle.pop(true)
    rescue ThreadError
      connect
    end
    connection.write("PING\r\n")
    connection.gets == "+PONG\r\n" or raise IOError, "the Redis has gone"
    give(connection)
  rescue SystemCallError, IOError
    connection&.close
    raise
  end

  def close
    @idle.close
    while (connection = @idle.pop)
      connection.close
    end
  end
end

prepare = lambda do |run|
  run.changes.each do |change|
    run[change.id] = Pool.new(change.host, change.port) unless change.removed?
  rescue SystemCallError => e
    run.reject(change.id, e.message)
  end
end

SS = Safestart.open(start: "after_fork", name: "api", source: "file:#{ENV.fetch("NODES")}", control: ENV.fetch("SAFESTART_CONTROL"),
                    debounce: "10ms", reconcile: "1s", max_shrink: "100%", prepare:)

def answer(nodes)
  nodes.to_a.shuffle.each do |node|
    node.data.ping
    SS.report(node)
    return [200, {}, ["#{node.id} answered\n"]]
  rescue SystemCallError, IOError => e
    SS.report(node, e)
  end
  [503, {}, ["no node answers\n"]]
end

run ->(_environment) { SS.read { |nodes| answer(nodes) } }
