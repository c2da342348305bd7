# SPDX-License-Identifier: LGPL-2.1-or-later
module Safestart
  VERDICTS = %i[applied unchanged refused failed timed_out cancelled].freeze
  STATES = %i[unknown announced applied proven failing quarantined retired].freeze
  FORCE = 1
  URGENT = 2

  # How a run ended, and with it every request that it covered.
  #
  # verdict:: +:applied+, +:unchanged+, +:refused+, +:failed+, +:timed_out+ or +:cancelled+
  # code:: 0, or -errno
  # message:: what happened and what to do, in words
  Outcome = Struct.new(:verdict, :code, :message, :run, :generation, :requests, :attempts, :quarantined, :ticket, :status, :pid) do
    # The new set is live, or it already was.
    def ok? = %i[applied unchanged].include?(verdict)
    def to_s = message
  end

  # What this process knows of a node: +name+ is one of STATES, +number+ its number in the library.
  State = Struct.new(:number, :name, :why)

  # A storage node of one generation. +labels+ is a frozen Hash, +data+ what +prepare+ has attached.
  class Node
    attr_reader :id, :host, :port, :labels, :data, :generation

    def initialize(id, host, port, labels, data, generation)
      @id, @host, @port, @labels, @data, @generation = id, host, port, labels, data, generation
      freeze
    end

    # Is it the same entry, in whatever generation?
    def same?(other) = id == other.id && host == other.host && port == other.port && labels == other.labels

    def inspect = "#<Safestart::Node #{id} #{host}:#{port} #{labels}>"
  end

  # The nodes of one generation, in the order of their ids, and +data+, what +prepare+ has attached to all of them.
  class Nodes
    include Enumerable
    attr_reader :generation, :data

    def initialize(generation, list, data)
      @generation, @list, @data = generation, list.freeze, data
      @by_id = list.to_h { |node| [node.id, node] }.freeze
      freeze
    end

    # The node with that id, or nil.
    def [](id) = @by_id[id]

    def each(&) = @list.each(&)
    def to_a = @list
    def size = @list.size
    def empty? = @list.empty?
    def sample(...) = @list.sample(...)
  end

  # One difference between the live set and the one that a run applies. +kind+ is +:added+, +:removed+ or +:changed+; host, port
  # and labels are the new ones, of a removed node the live ones. +was+ is a changed node's live entry.
  Change = Struct.new(:kind, :id, :host, :port, :labels, :was) do
    def self.of(entry)
      was = entry["was"]
      new(entry["change"].to_sym, *entry.values_at("id", "host", "port", "labels"),
          was && new(:removed, entry["id"], *was.values_at("host", "port", "labels")))
    end

    def added? = kind == :added
    def removed? = kind == :removed
    def changed? = kind == :changed
  end
end
