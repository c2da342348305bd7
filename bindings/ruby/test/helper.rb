# SPDX-License-Identifier: LGPL-2.1-or-later
require "minitest/autorun"
require "safestart"
require "timeout"

# An object that says when it was closed.
class Connection
  attr_reader :closed

  def initialize(name, closings = Queue.new) = (@name, @closings = name, closings)

  def close
    @closed = true
    @closings << @name
  end
end

class SafestartTest < Minitest::Test
  SETTINGS = { debounce: "0", retry_min: "0", max_shrink: "100%" }.freeze
  LIMIT = 60 # seconds; what is waited for comes at once, on a machine that is not busy

  def setup = @closings = Queue.new
  def teardown = @ss&.close

  def open(**more) = @ss = Safestart.open(**SETTINGS, **more)

  def set(addresses) = addresses.map { |id, address| { targets: [address], labels: { id: } } }

  def push(addresses) = @ss.wait(@ss.replace(set(addresses)), timeout: LIMIT)

  # A prepare that hangs a Connection on each node.
  def connect
    lambda do |run|
      run.changes.each { |change| run[change.id] = Connection.new("#{change.id}@#{change.port}", @closings) unless change.removed? }
    end
  end

  def next_closed = Timeout.timeout(LIMIT) { @closings.pop }

  def until_true(what)
    Timeout.timeout(LIMIT, nil, "never came: #{what}") { Thread.pass until yield }
  end

  # What a Ruby program prints, and how it ends.
  def run_ruby(script)
    libs = $LOAD_PATH.flat_map { |folder| ["-I", folder.to_s] }
    text = IO.popen([RbConfig.ruby, *libs, "-r", "safestart", "-e", script], err: %i[child out], &:read)
    [text, $?]
  end
end
